// Command bursar-shim is the standalone shim: it swaps the access tokens of agents for the keys of legacy APIs, for the
// tenants that its key is for. It reads tools, sealed secrets and revocations from the Redis of a bursar server, as a
// user that can read nothing else, and holds neither the master key nor a key that signs tokens.
//
// It exits with 0 when the thing is done, 1 when it was refused or failed, 2 when the command line is wrong, and 3 when
// the answer is not known. Results go to standard output; everything else goes to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/build"
	"github.com/bursar-sts/bursar/cmd/internal/coredump"
	"github.com/bursar-sts/bursar/cmd/internal/port"
	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

// The exit codes, as those of bursar.
const (
	exitDone    = 0
	exitRefused = 1
	exitUsage   = 2
	exitUnknown = 3 // could not tell
)

const usage = `usage: bursar-shim [--config FILE]                 serve
       bursar-shim config check [--config FILE]    check the configuration and all that it names
       bursar-shim health [--config FILE]          ask whether the shim can serve
       bursar-shim version                         print the version

FILE is shim.yaml unless it is given; docs/shim.md has an example, and "bursar keys shim" makes the key that it needs.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	var words []string // the command
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		words, args = append(words, args[0]), args[1:]
	}
	flags := flag.NewFlagSet("bursar-shim", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("config", defaultFile, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(out, usage)
		return exitDone
	case err != nil || flags.NArg() > 0:
		return misuse(errs, strings.Join(args, " "))
	}
	var err error
	switch command := strings.Join(words, " "); command {
	case "":
		err = serve(ctx, *path, errs)
	case "config check":
		err = check(*path, out)
	case "health":
		return health(ctx, *path, out, errs)
	case "version":
		_, err = fmt.Fprintf(out, "bursar-shim %s (%s, %s/%s)\n", build.Version(), runtime.Version(), runtime.GOOS,
			runtime.GOARCH)
	default:
		return misuse(errs, command)
	}
	if err != nil {
		complain(errs, err)
		return exitRefused
	}
	return exitDone
}

func misuse(errs io.Writer, what string) int {
	fmt.Fprintf(errs, "bursar-shim: error: unknown: %q\n%s", what, usage)
	return exitUsage
}

// complain prints an error, and each mistake of a configuration on a line of its own.
func complain(errs io.Writer, err error) {
	fmt.Fprintln(errs, "bursar-shim: error:", err)
	if m, ok := errors.AsType[*strict.Mistakes](err); ok {
		for _, mistake := range m.List {
			fmt.Fprintln(errs, "bursar-shim: error:  ", mistake)
		}
	}
}

// serve runs the shim until ctx ends.
func serve(ctx context.Context, path string, errs io.Writer) error {
	c, s, err := open(path)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(errs, nil))
	strict.Forget(c.ShimKey, c.StorePassword, c.OpenBao.Auth.Token)
	if err := coredump.Forbid(); err != nil {
		logger.WarnContext(ctx, "a core file of this process would hold keys", "error", err)
	}
	p, err := start(ctx, c, s, logger)
	if err != nil {
		return err
	}
	logger.InfoContext(ctx, "serving", "listen", p.address(), "url", c.URL, "tenants", s.slugs(), "shim", s.Key.ID)
	return p.run(ctx)
}

func check(path string, out io.Writer) error {
	_, s, err := open(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is fine: shim %s, for %s\n", path, s.Key.ID, strings.Join(s.slugs(), ", "))
	return err
}

// health asks the shim that a file configures and that runs on this machine.
func health(ctx context.Context, path string, out, errs io.Writer) int {
	c, err := load(path)
	if err == nil && c.Listen == "" {
		err = errors.New("it has no listen, and so nothing to ask")
	}
	var origin string
	var client *http.Client
	if err == nil {
		origin, client, err = port.Local(c.Listen, c.TLS, c.URL)
	}
	if err != nil {
		complain(errs, err)
		return exitRefused
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/readyz", nil)
	if err == nil {
		var answer *http.Response
		if answer, err = client.Do(r); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				fmt.Fprintln(out, "ready")
				return exitDone
			}
			complain(errs, fmt.Errorf("the shim is not ready: it answers with status %d", answer.StatusCode))
			return exitRefused
		}
	}
	complain(errs, err)
	return exitUnknown
}
