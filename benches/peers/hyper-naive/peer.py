"""Built from this folder by `bench.py build`. It keeps no verified tokens."""
NAME = "hyper-naive"
PROGRAM = "bench-hyper-naive"
VERSION = None
CAN = {"plain", "apikey", "jwt"}
NOTE = {}


def arguments(ctx):
    mode = "none" if ctx.mode == "plain" else ctx.mode
    return [mode, "127.0.0.1:%d" % ctx.port, ctx.upstream, ctx.cert, ctx.key, str(ctx.workers), ctx.creds]
