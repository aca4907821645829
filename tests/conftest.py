pytest_plugins = ["berth.testing.plugin"]
