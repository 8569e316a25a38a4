ECHO = False
