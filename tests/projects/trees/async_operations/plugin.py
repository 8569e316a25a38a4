from alembic.operations import MigrateOperation, Operations


@Operations.register_operation("create_sequence")
class CreateSequence(MigrateOperation):
    def __init__(self, name):
        self.name = name

    @classmethod
    def create_sequence(cls, operations, name):
        return operations.invoke(cls(name))

    def reverse(self):
        raise NotImplementedError


@Operations.implementation_for(CreateSequence)
def create_sequence(operations, operation):
    operations.execute(f"CREATE SEQUENCE {operation.name}")
