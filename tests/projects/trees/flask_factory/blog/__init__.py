import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()
migrate = Migrate()


@migrate.configure
def configure(config):
    config.set_main_option("blog", "yes")
    return config


def create_app(editor: str = "nobody") -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("BLOG")
    app.config["EDITOR"] = editor
    db.init_app(app)
    migrate.init_app(app, db)
    return app
