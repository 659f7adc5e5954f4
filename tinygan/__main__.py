"""``python -m tinygan`` is the program ``tinygan``."""

from .command.main import main

if __name__ == "__main__":
    main()
