"""The built-in defenses of fedsec, installed as `fedsec.defenses`."""

if not __name__.startswith("fedsec."):
    raise ImportError("import it as 'fedsec.defenses': the folder is mapped under fedsec when the project is installed")
