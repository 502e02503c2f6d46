"""What monitors that ask NTP servers share: the question, its rounds, the majority, and the settings of these.

A monitor brings its settings, an extension of `options.RoundOptions`, and a `query.TimeServer` for each server that it
asks; `monitor.TimeServerMonitor` does the rest. Import the modules by name: the settings must load nothing else.
"""
