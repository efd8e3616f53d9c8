"""The built-in scenarios of fedsec, installed as `fedsec.scenarios`."""

if not __name__.startswith("fedsec."):
    raise ImportError(
        "import it as 'fedsec.scenarios': the folder is mapped under fedsec when the project is installed"
    )
