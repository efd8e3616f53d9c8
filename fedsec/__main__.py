"""`python -m fedsec` is the command `fedsec`."""

from fedsec.cli.main import main

if __name__ == "__main__":
    main()
