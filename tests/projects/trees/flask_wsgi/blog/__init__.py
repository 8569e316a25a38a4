import os

from flask import Flask

from .extensions import db, migrate


def create_app() -> Flask:
    app = Flask(__name__, instance_relative_config=True)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["BLOG_DATABASE"].replace("postgres://", "postgresql://")
    app.config["EDITOR"] = "joan"
    db.init_app(app)
    migrate.init_app(app, db)
    app.logger.warning("blog starts")
    return app
