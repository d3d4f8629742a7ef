"""slicer.testing: leave the application with a status, run a module's unit tests."""


def exitSuccess():
    import slicer

    slicer.util.exit(0)


def exitFailure(message=""):
    import slicer

    if message:
        print(message)
    slicer.util.exit(1)


def runUnitTest(path, testname):
    """Run the unittest classes of the module ``testname`` found in the folders ``path``; raises on a failure."""
    import sys
    import unittest

    sys.path.extend(path)
    suite = unittest.TestLoader().loadTestsFromName(testname)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not result.wasSuccessful():
        raise RuntimeError(f"{testname}: {len(result.failures)} failures, {len(result.errors)} errors")
