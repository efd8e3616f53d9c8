"""The built-in attacks of fedsec, installed as `fedsec.attacks`."""

if not __name__.startswith("fedsec."):
    raise ImportError("import it as 'fedsec.attacks': the folder is mapped under fedsec when the project is installed")
