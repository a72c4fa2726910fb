package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/ledger"
)

// step is one command of the story. It is run as it is printed, except that this process plays the program.
type step struct {
	says string
	args []string     // of bursar; of another command if does is set
	does func() error // what that command does
	into string       // file that gets its output, instead of the screen
	code int          // the exit code that it must have
	show int          // lines of output to show; 0 shows all
}

// tell runs the story. The error names the first step that did not go as told.
func (p *program) tell(ctx context.Context, d *demo) error {
	if err := os.WriteFile(d.path("acme.yaml"), []byte(d.tenantFile()), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "bursar runs at %s, two identity issuers at %s, everything on this machine.\n"+
		"Each line that begins with $ can be repeated in another terminal, after these:\n\n"+
		"  $ export BURSAR_SERVER=%s BURSAR_TOKEN_FILE=%s\n"+
		"  $ alias bursar='%s'\n",
		d.server, d.issuers, d.server, shellWord(d.path("admin.token")), invocation())
	number := 0
	run := func(steps ...step) error {
		for _, s := range steps {
			number++
			if err := p.perform(ctx, d, number, s); err != nil {
				return fmt.Errorf("step %d (%s): %w", number, strings.Join(s.args, " "), err)
			}
		}
		return nil
	}
	if err := run(d.opening()...); err != nil {
		return err
	}
	decision, err := d.refusal()
	if err != nil {
		return err
	}
	if err := run(d.checking(decision)...); err != nil {
		return err
	}
	jti, err := d.jti()
	if err != nil {
		return err
	}
	if err := run(d.ending(jti)...); err != nil {
		return err
	}
	if err := d.tellLog(run); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "\nThat is the story: %d steps, each as expected.\n", number)
	return err
}

const devResource = "https://payments.acme.example"

// opening is the story up to the first refusal.
func (d *demo) opening() []step {
	exchange := []string{"token", "exchange", "--issuer", d.tenant(), "--resource", devResource}
	return []step{
		{says: "The operator says who is trusted, who the agents are, and what they may do.",
			args: []string{"apply", "-f", d.path("acme.yaml")}},
		{says: "The payments API gets a secret with which it can ask about tokens.",
			args: []string{"client", "secret", "acme/payments-api"}, into: d.path("payments-api.secret")},
		{says: "The agent trades the token that its platform gave it for one that is good for one tool and two minutes.",
			args: append(exchange, "--subject-token-file", d.path("agent.jwt"), "--scope", "payments:refunds.read"),
			into: d.path("token.jwt")},
		{says: "This is what it holds now: one tool (aud), one action (scope), its own name (sub), minutes (exp).",
			args: []string{"token", "inspect", d.path("token.jwt")}},
		{says: "For more, it must act for somebody: alice's token is the subject, its own the actor.",
			args: append(exchange, "--subject-token-file", d.path("user.jwt"), "--actor-token-file", d.path("agent.jwt"),
				"--scope", "payments:refunds.create"), into: d.path("alice.jwt")},
		{says: "The token names both: alice (sub), and the agent that acts for her (act).",
			args: []string{"token", "inspect", d.path("alice.jwt")}},
		{says: "What no policy allows is refused. The caller learns no reason, only under which id to ask for it.",
			args: append(exchange, "--subject-token-file", d.path("agent.jwt"), "--scope", "payments:refunds.delete"),
			code: exitRefused},
	}
}

// checking is the story from the explanation of a refusal to the first use of a token.
func (d *demo) checking(decision string) []step {
	introspect := []string{"token", "inspect", "--issuer", d.tenant(), "--introspect", "--client-id", "payments-api",
		"--client-secret-file", d.path("payments-api.secret"), d.path("token.jwt")}
	return []step{
		{says: "The operator asks, and sees every step: what there was, what it left, and which rule or check refused.",
			args: []string{"explain", "acme", decision}},
		{says: "The payments API asks whether the token is active.", args: introspect, show: 1},
		{says: "Or it asks nobody and verifies the signature with the tenant's public keys.",
			args: []string{"token", "inspect", "--issuer", d.tenant(), "--audience", devResource, d.path("token.jwt")}, show: 1},
	}
}

// ending is the story from the revocation of a token on.
func (d *demo) ending(jti string) []step {
	introspect := []string{"token", "inspect", "--issuer", d.tenant(), "--introspect", "--client-id", "payments-api",
		"--client-secret-file", d.path("payments-api.secret")}
	again := []string{"token", "exchange", "--issuer", d.tenant(), "--resource", devResource,
		"--subject-token-file", d.path("agent.jwt")}
	return []step{
		{says: "Something looks wrong: the token is revoked.", args: []string{"revoke", "acme", "--jti", jti}},
		{says: "It is inactive at once.", args: append(introspect, d.path("token.jwt")), code: exitRefused, show: 1},
		{says: "Now the whole agent: all of its tokens, and no new ones.",
			args: []string{"revoke", "acme", "--client", "ap-bot"}},
		{says: "The token that it has for alice is gone too.",
			args: append(introspect, d.path("alice.jwt")), code: exitRefused, show: 1},
		{says: "It gets no other.", args: again, code: exitRefused},
		{says: "The agent is repaired and enabled again; what was revoked stays revoked.",
			args: []string{"enable", "acme", "--client", "ap-bot"}},
		{says: "It works on.", args: again, into: d.path("token.jwt")},
		{says: "Everything is on record, allowed or refused. The reason that the agent was not told is here.",
			args: []string{"audit", "tail", "acme"}},
	}
}

// refusal is the id of the decision that refused the last step's caller, as that caller was told it.
func (d *demo) refusal() (decision string, err error) {
	for _, word := range strings.Fields(d.said) {
		if _, ok := ledger.IDTime(word); ok {
			return word, nil
		}
	}
	return "", errors.New("the refused caller was told no decision's id")
}

// jti reads the id of the agent's token.
func (d *demo) jti() (string, error) {
	compact, err := os.ReadFile(d.path("token.jwt"))
	if err != nil {
		return "", err
	}
	_, payload, err := token.Canonical(strings.TrimSpace(string(compact)))
	if err != nil {
		return "", err
	}
	c, err := token.Parse(payload)
	return c.ID, err
}

// perform runs one step and prints it.
func (p *program) perform(ctx context.Context, d *demo, number int, s step) error {
	words := make([]string, len(s.args))
	for i, arg := range s.args {
		words[i] = shellWord(arg)
	}
	line := "bursar " + strings.Join(words, " ")
	if s.does != nil {
		line = strings.Join(s.args, " ")
	}
	if s.into != "" {
		line = "(umask 077; " + line + " > " + shellWord(s.into) + ")" // it is a secret
	}
	fmt.Fprintf(p.out, "\n%d. %s\n\n  $ %s\n", number, s.says, line)
	if s.does != nil {
		return s.does()
	}
	var out bytes.Buffer
	actor := &program{in: strings.NewReader(""), out: &out, err: &out, env: d.env(p.env)}
	code := actor.run(ctx, s.args)
	d.said = out.String()
	if code != s.code {
		return fmt.Errorf("exit code %d instead of %d: %s", code, s.code, strings.TrimSpace(out.String()))
	}
	if s.into != "" {
		return replaceFile(s.into, strings.TrimSpace(out.String()))
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if s.show > 0 {
		lines = lines[:min(s.show, len(lines))]
	}
	for _, line := range lines {
		fmt.Fprintln(p.out, strings.TrimRight("  "+line, " "))
	}
	return nil
}

// env is the environment of the story's commands.
func (d *demo) env(outer func(string) string) func(string) string {
	return func(name string) string {
		switch name {
		case "BURSAR_SERVER":
			return d.server
		case "BURSAR_TOKEN_FILE":
			return d.path("admin.token")
		}
		return outer(name)
	}
}

// invocation is how somebody runs this program again: go run leaves no binary that can be named.
func invocation() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, "go-build") {
		return "go run ./cmd/bursar"
	}
	return shellWord(path)
}
