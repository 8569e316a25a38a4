raise RuntimeError("the project's profile.py, not the library's")
