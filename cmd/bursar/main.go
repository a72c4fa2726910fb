// Command bursar is the whole of bursar: the server, its administration, and the exchange of tokens by hand.
//
// It exits with 0 when the thing is done, 1 when it was refused, failed or tampered with, 2 when the command line is
// wrong, and 3 when the answer is not known: nobody answered, or the server could not confirm. Results go to standard
// output; everything else goes to standard error as "bursar: error: …" and "bursar: hint: …".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv,
		color: isTerminal(os.Stderr), outColor: isTerminal(os.Stdout)}
	code := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
