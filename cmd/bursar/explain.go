package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) explainCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	var s supposition
	cmd := command("explain TENANT (DECISION_ID | --client ID --tool NAME …)",
		"Tell why a request was decided as it was, or how one would be", cobra.RangeArgs(1, 2),
		func(ctx context.Context, args []string) error {
			client, err := conn.open()
			if err != nil {
				return err
			}
			var e *operator.Explanation
			if len(args) == 2 {
				e, err = client.Decision(ctx, args[0], args[1])
			} else {
				e, err = s.ask(ctx, p, client, args[0])
			}
			if err != nil {
				return err
			}
			if *asJSON {
				err = p.printJSON(e)
			} else {
				err = p.printExplanation(args[0], e)
			}
			if err != nil || len(args) == 2 {
				return err
			}
			return supposed(e)
		})
	cmd.Long = cmd.Short + `.

With the id of a decision, which every refused caller is told, the record of the decision is taken apart; the exit code
is 0 whatever was decided. Without one, the flags describe a request that nobody made, and the tenant's policies and
revocations as they are now judge it; what the request would have to prove is taken for granted. The exit code is then
0 if it would be allowed, and 1 if not. Nothing is issued or recorded.`
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	s.add(cmd)
	return cmd
}

// supposition are the flags of a request that nobody made.
type supposition struct {
	operator.Hypothesis
	parent                 operator.Parent
	agent, agentClaims     string
	subject, subjectClaims string
	at, ip                 string
}

func (s *supposition) add(cmd *cobra.Command) {
	f := cmd.Flags()
	var names []string
	flag := func(to *string, name, says string) {
		f.StringVar(to, name, "", says)
		names = append(names, name)
	}
	flag(&s.Client, "client", "id of the client that would ask")
	flag(&s.Tool, "tool", "name of the tool")
	flag(&s.Scope, "scope", "scopes, separated by spaces (default: what the policy gives)")
	flag(&s.agent, "agent", "identity that the client would prove, as <issuer's name>:<its sub>")
	flag(&s.agentClaims, "agent-claims", "file with the claims of its token, a JSON object; - for standard input")
	flag(&s.subject, "subject", "whom it would act for, as <issuer's name>:<its sub>")
	flag(&s.subjectClaims, "claims", "file with the claims of the subject's token, a JSON object; - for standard input")
	flag(&s.parent.Client, "parent-client", "client of a token of bursar that would be traded in")
	flag(&s.parent.Tool, "parent-tool", "tool of that token")
	flag(&s.parent.Scope, "parent-scope", "scope of that token")
	flag(&s.at, "at", "time that conditions see, as in 2026-01-02T03:04:05Z (default: now)")
	flag(&s.ip, "ip", "caller's address that conditions see")
	flag(&s.Lifetime, "lifetime", "how long what would be presented is valid, as in 30m (default: an hour)")
	f.IntVar(&s.parent.Depth, "depth", 0, "how many tokens the traded token descends from")
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		given := cmd.Flags().Changed("depth")
		for _, name := range names {
			given = given || cmd.Flags().Changed(name)
		}
		switch {
		case len(args) == 2 && given:
			return errors.New("give the id of a decision, or flags of a request that nobody made, not both")
		case len(args) == 1 && (s.Client == "" || s.Tool == ""):
			return errors.New("give the id of a decision, or --client and --tool of a request that nobody made")
		}
		return nil
	}
}

// ask has the hypothesis judged.
func (s *supposition) ask(ctx context.Context, p *program, c *operator.Client, tenant string) (
	*operator.Explanation, error) {
	var err error
	h := s.Hypothesis
	if h.Agent, err = p.readIdentity("agent", s.agent, "agent-claims", s.agentClaims); err != nil {
		return nil, err
	}
	if h.Subject, err = p.readIdentity("subject", s.subject, "claims", s.subjectClaims); err != nil {
		return nil, err
	}
	if s.parent != (operator.Parent{}) {
		h.Parent = &s.parent
	}
	if s.at != "" {
		if h.At, err = time.Parse(time.RFC3339, s.at); err != nil {
			return nil, usage("--at must be a time such as 2026-01-02T03:04:05Z")
		}
	}
	if s.ip != "" {
		if h.IP, err = netip.ParseAddr(s.ip); err != nil {
			return nil, usage("--ip must be an IP address")
		}
	}
	e, err := c.Explain(ctx, tenant, h)
	return e, s.inFlags(tenant, err)
}

// inFlags says what is wrong with a hypothesis by the flags that it was made with.
func (s *supposition) inFlags(tenant string, err error) error {
	p, ok := errors.AsType[*operator.Problem](err)
	if !ok || p.Code() != operator.CodeInvalid {
		return err
	}
	f := explainProblem(p)
	given := map[string]struct{ flag, value, list string }{
		"client": {"client", s.Client, "client"}, "parent.client": {"parent-client", s.parent.Client, "client"},
		"parent.tool": {"parent-tool", s.parent.Tool, "tool"},
		"agent":       {"agent", s.agent, "issuer"}, "subject": {"subject", s.subject, "issuer"},
	}
	for i, problem := range f.details {
		field, what, _ := strings.Cut(problem, ": ")
		if g, ok := given[field]; ok {
			f.details[i] = fmt.Sprintf("--%s %s: %s", g.flag, g.value, what)
			f.hints = append(f.hints, fmt.Sprintf("compare with: bursar %s list %s", g.list, tenant))
		}
	}
	return f
}

// readIdentity reads what two flags say about somebody; nil if they say nothing.
func (p *program) readIdentity(flag, who, claimsFlag, claimsFile string) (*operator.Identity, error) {
	if who == "" && claimsFile == "" {
		return nil, nil
	}
	issuer, subject, ok := strings.Cut(who, ":")
	if !ok || issuer == "" || subject == "" {
		return nil, usage("--" + flag + " must be the name of a trusted issuer, a colon, and its sub, as in corp-sso:alice")
	}
	id := &operator.Identity{Issuer: issuer, Subject: subject}
	if claimsFile == "" {
		return id, nil
	}
	claims, err := p.readInput(claimsFile)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(claims, &object) != nil || object == nil {
		return nil, usage("--" + claimsFlag + " must be a file with a JSON object")
	}
	id.Claims = claims
	return id, nil
}

// supposed is the error of a hypothesis that was not allowed.
func supposed(e *operator.Explanation) error {
	switch e.Outcome {
	case operator.OutcomeAllowed:
		return nil
	case operator.OutcomeDenied:
		return &failure{code: exitRefused, text: "the request would be refused"}
	}
	return &failure{code: exitUnknown, text: "the request could not be judged"}
}

// printExplanation writes the steps as a table, what ended them last, and what can be done about it.
func (p *program) printExplanation(tenant string, e *operator.Explanation) error {
	verdict, ended := string(e.Outcome), "refused: "
	if e.Outcome == operator.OutcomeError {
		ended = "failed: "
	}
	switch {
	case e.Outcome == operator.OutcomeAllowed:
	case e.Step == "": // a call through the shim
		verdict += ": " + e.Reason
	default:
		verdict += " at the step " + e.Step + ": " + e.Reason
	}
	fmt.Fprintln(p.out, harmless(verdict))
	if len(e.Steps) > 0 {
		fmt.Fprintln(p.out)
	}
	rows := make([][]string, len(e.Steps))
	for i, s := range e.Steps {
		result := "passed"
		switch {
		case s.Refused != "" && i == len(e.Steps)-1 && e.Outcome != operator.OutcomeAllowed:
			result = ended + s.Refused
		case s.Refused != "":
			result = "not met: " + s.Refused
		}
		rows[i] = []string{s.Step, strings.Join(s.Had, ", "), strings.Join(s.Left, ", "), s.By, result}
	}
	if len(rows) > 0 {
		if err := p.table("STEP HAD LEFT BY RESULT", rows); err != nil {
			return err
		}
	}
	if hint := hintFor(e.Reason); hint != "" {
		fmt.Fprintf(p.out, "\n%s\n", strings.ReplaceAll(hint, "TENANT", tenant))
	}
	if len(e.Records) > 0 {
		fmt.Fprintln(p.out)
	}
	for _, r := range e.Records {
		if err := p.printEvent(r); err != nil {
			return err
		}
	}
	return nil
}
