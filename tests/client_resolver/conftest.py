from tests.strays import no_stray_exceptions, strays

__all__ = ["no_stray_exceptions", "strays"]
