package main

import (
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

// logChoice are the flags and arguments that name one log.
type logChoice struct {
	conn     *connection
	tenant   string
	platform bool
}

// chooseLog adds the flags to a command, and those of the connection.
func (p *program) chooseLog(cmd *cobra.Command) *logChoice {
	c := &logChoice{conn: p.connect(cmd)}
	cmd.Flags().StringVar(&c.tenant, "tenant", "", "the tenant whose log it is; the same as TENANT")
	cmd.Flags().BoolVar(&c.platform, "platform", false, "the platform's log")
	return c
}

// name returns the tenant, empty for the platform, and the arguments that follow it.
func (c *logChoice) name(args []string) (slug string, rest []string, err error) {
	if c.tenant == "" && !c.platform && len(args) > 0 {
		return args[0], args[1:], nil
	}
	if c.platform == (c.tenant != "") {
		return "", nil, usage("name one log: a tenant, or --platform")
	}
	return c.tenant, args, nil
}

// open returns the log, and the arguments that follow its name, of which there must be at most most.
func (c *logChoice) open(args []string, most int) (*operator.Log, []string, error) {
	slug, rest, err := c.name(args)
	switch {
	case err != nil:
		return nil, nil, err
	case len(rest) > most && (c.platform || c.tenant != ""):
		return nil, nil, usage("name one log: a tenant, or --platform; " + rest[most] + " is superfluous")
	case len(rest) > most:
		return nil, nil, usage(rest[most] + " is superfluous")
	}
	client, err := c.conn.open()
	if err != nil {
		return nil, nil, err
	}
	if slug == "" {
		return client.PlatformLog(), rest, nil
	}
	return client.Log(slug), rest, nil
}

// atLog explains an answer of something that has no logs: they are not where the admin API has a listener of its own.
func atLog(err error) error {
	problem, ok := errors.AsType[*operator.Problem](err)
	if !ok || problem.Status != http.StatusNotFound || problem.Code() != "" {
		return err
	}
	f := explainProblem(problem)
	f.hints = append(f.hints, "logs are at the server's base_url, also where admin.listen gives the rest another address")
	return f
}
