from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()
migrate = Migrate(directory="migrations", compare_type=False, version_table="blog_version")
