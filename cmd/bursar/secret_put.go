package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

// putting is what the command line of a put says.
type putting struct {
	request        operator.SecretRequest
	inject, expect string
	ca, file       string // paths
	fields         bool   // the input is a JSON object
}

func (p *program) secretPutCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	var put putting
	cmd := command("put TENANT/NAME --host URL [--activate] (- | --from-file FILE)",
		"Store a version of a secret, read from standard input or a file; it never comes out again", noValue,
		func(ctx context.Context, args []string) error {
			tenant, name, err := pair(args[:1])
			if err != nil {
				return err
			}
			if (len(args) == 2) == (put.file != "") {
				return usage("give - to read the value from standard input, or --from-file",
					"as in: printf %s \"$KEY\" | bursar secret put acme/crm-key --host https://api.example -")
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			if err := p.fill(&put); err != nil {
				return err
			}
			done, err := client.PutSecret(ctx, tenant, name, put.request)
			if err != nil {
				return err
			}
			return p.tellChange(tenant, done, *asJSON)
		})
	cmd.SetFlagErrorFunc(func(*cobra.Command, error) error { // whose text may hold the value
		return usage("the command line has a flag that is not known, or lacks a value", hideValue)
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	put.flags(cmd)
	return cmd
}

func (put *putting) flags(cmd *cobra.Command) {
	r, flags := &put.request, cmd.Flags()
	flags.StringVar(&r.Host, "host", "", "origin that the secret may go to, such as https://api.example:8443")
	flags.StringVar(&put.inject, "inject", "", "ways in which it may be put on a request, such as header,query "+
		"(default: those of its fields that put it into no address and no body)")
	flags.StringVar(&put.ca, "ca", "", "file with the certificates, PEM, that alone may sign the origin's")
	flags.StringVar(&r.TokenURL, "token-url", "", "where oauth2 gets its tokens")
	flags.BoolVar(&put.fields, "fields", false, `the input is JSON, such as {"username": "…", "password": "…"}`)
	flags.BoolVar(&r.Activate, "activate", false, "let calls use it at once")
	expectFlag(cmd, &put.expect)
	flags.BoolVar(&r.Short, "unscrubbable-ok", false, "accept less than 16 bytes, which are not found in every answer")
	flags.BoolVar(&r.Decision, "decision-mode", false, "let the decision endpoint give it to a front proxy")
	flags.StringVar(&put.file, "from-file", "", "file with the value")
	must(cmd.MarkFlagRequired("host"))
}

const hideValue = "a value on the command line is seen by everybody on this machine, and stays in the history of the " +
	"shell: give it on standard input with -, and if it was real, have it replaced"

// noValue takes the name of a secret and a dash, and repeats nothing else.
func noValue(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage("the tenant and the name of the secret are missing, as in acme/crm-key")
	case len(args) > 2, len(args) == 2 && args[1] != "-":
		return usage("a value is no argument", hideValue)
	}
	return nil
}

// fill reads the files that the command line names, and the value.
func (p *program) fill(put *putting) error {
	r := &put.request
	if put.inject != "" {
		r.Inject = strings.Split(put.inject, ",")
	}
	var err error
	if r.Expect, err = expected(put.expect); err != nil {
		return err
	}
	if put.ca != "" {
		pem, err := p.readInput(put.ca)
		if err != nil {
			return err
		}
		r.CA = string(pem)
	}
	path := put.file
	if path == "" {
		path = "-"
	}
	if stdin, ok := p.in.(*os.File); path == "-" && ok && isTerminal(stdin) {
		p.say("hint", "36", "the value is read from this terminal, which shows it; end it with Ctrl-D on a line of its own")
	}
	value, err := p.readInput(path)
	if err != nil {
		return err
	}
	if !put.fields {
		text, cut := strings.CutSuffix(string(value), "\n")
		if cut {
			text = strings.TrimSuffix(text, "\r")
			p.say("hint", "36", "the line break at the end is no part of the value, and was left out")
		}
		r.Fields = map[string]string{"value": text}
		return nil
	}
	if json.Unmarshal(value, &r.Fields) != nil || r.Fields == nil { // the cause could show some of it
		return errors.New("the input must be one JSON object whose members are strings")
	}
	return nil
}
