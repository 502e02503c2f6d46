"""What happens when something goes wrong, done to real servers on loopback: `python -m bench.faults`.

A fault is a function in the module of its kind:

    @fault("clock-step", "The clock is set forward by an hour; no monitor")
    def step(scene: Scene) -> Seen:
        with scene.serve(SOME_TOML) as server:
            ...
            client, since = server.refusal(), monotonic()    # waits until a client is refused, and says how
            log, readyz = server.logged("clock state=stepped"), server.readyz()
            ...
            return Seen(client=client, log=log, readyz=readyz, healed=f"{server.healed()} after it was set back")

`scene.folder` is an empty directory; `scene.run("check", ...)` runs a command to its end. What a fault promises is
asserted: an AssertionError makes the row fail, and the exit code 1. `--only NAME` runs one fault or kind, `--write`
puts the rows that ran into docs/operate/faults.md and leaves the others; tests/test_faults_page.py compares the names.
After a conflict in the page: take either side, and write one's own rows again.
"""
