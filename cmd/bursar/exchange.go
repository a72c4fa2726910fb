package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
	tokenTypePrefix    = "urn:ietf:params:oauth:token-type:"               // RFC 8693 §3
)

func (p *program) tokenCommand() *cobra.Command {
	return group("token", "Get a token, or look into one", p.tokenExchangeCommand(), p.tokenInspectCommand())
}

// exchange are the flags of token exchange.
type exchange struct {
	issuer               issuerFlags
	subjectFile, subject string // the file and the type of the token
	actorFile, actor     string
	resource, audience   string
	scope                []string
	asJSON               *bool
}

func (p *program) tokenExchangeCommand() *cobra.Command {
	var x exchange
	cmd := command("exchange --issuer URL --subject-token-file FILE (--resource URI | --audience TOOL) [--scope SCOPE]",
		"Trade a token for one that is good for one tool, and print it", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return p.exchange(ctx, &x) })
	x.issuer.add(cmd, "issuer URL of the tenant")
	x.asJSON = cmd.Flags().Bool("json", false, "print the whole response")
	f := cmd.Flags()
	f.StringVar(&x.subjectFile, "subject-token-file", "", "file with the token to trade, - for standard input")
	f.StringVar(&x.subject, "subject-token-type", "jwt", "its type: jwt, id_token, access_token (of bursar) or a URI")
	f.StringVar(&x.actorFile, "actor-token-file", "", "file with the agent's own token, if it acts for the subject")
	f.StringVar(&x.actor, "actor-token-type", "jwt", "its type")
	f.StringVar(&x.resource, "resource", "", "resource URI of the tool")
	f.StringVar(&x.audience, "audience", "", "name of the tool")
	f.StringSliceVar(&x.scope, "scope", nil, "scopes such as payments:refunds.read (default: what the policy gives)")
	must(cmd.MarkFlagRequired("issuer"))
	must(cmd.MarkFlagRequired("subject-token-file"))
	return cmd
}

func (p *program) exchange(ctx context.Context, x *exchange) error {
	s, err := x.issuer.open()
	if err != nil {
		return err
	}
	form, err := p.exchangeForm(x, s)
	if err != nil {
		return err
	}
	m, err := s.discover(ctx)
	if err != nil {
		return err
	}
	if m.TokenEndpoint == "" {
		return &failure{code: exitRefused, text: "the issuer has no token endpoint"}
	}
	body, err := s.post(ctx, m.TokenEndpoint, form)
	if err != nil {
		return x.advise(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.AccessToken == "" {
		return fmt.Errorf("%w: its answer holds no token", errNoAnswer)
	}
	if *x.asJSON {
		return p.printJSON(json.RawMessage(body))
	}
	_, err = fmt.Fprintln(p.out, harmless(answer.AccessToken))
	return err
}

// advise adds to a refusal of a subject token that came alone what is missing if it is not the agent's.
func (x *exchange) advise(err error) error {
	f, ok := errors.AsType[*failure](err)
	if ok && strings.HasPrefix(f.text, "invalid_request") && x.actorFile == "" && x.issuer.clientID == "" {
		f.hints = append(f.hints,
			"if the token is of somebody for whom the agent acts, give the agent's own with --actor-token-file")
	}
	return err
}

// exchangeForm returns the request of RFC 8693 §2.1.
func (p *program) exchangeForm(x *exchange, s *issuer) (url.Values, error) {
	if x.resource == "" && x.audience == "" {
		return nil, usage("name the tool, with --resource or --audience")
	}
	form := url.Values{"grant_type": {grantTokenExchange}}
	for _, t := range []struct{ name, file, kind string }{
		{"subject_token", x.subjectFile, x.subject}, {"actor_token", x.actorFile, x.actor},
	} {
		if t.file == "" {
			continue
		}
		token, err := p.readToken(t.file)
		if err != nil {
			return nil, err
		}
		if err := s.presentable(token, t.kind); err != nil {
			return nil, within(t.file, err)
		}
		form.Set(t.name, token)
		form.Set(t.name+"_type", tokenType(t.kind))
	}
	for name, value := range map[string]string{
		"resource": x.resource, "audience": x.audience, "scope": strings.Join(x.scope, " "),
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	return form, nil
}

// presentable tells what is wrong with a token that is of no use as one of the given type. Only words for types of JWTs
// are understood; what somebody writes as a URI is sent as it is.
func (s *issuer) presentable(token, kind string) error {
	if !slices.Contains([]string{"jwt", "id_token", "access_token"}, kind) {
		return nil
	}
	found, err := decode(token)
	if err != nil {
		return err
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	_ = json.Unmarshal(found.Claims, &claims) // without an issuer it is for the server to refuse
	if claims.Issuer == s.url && kind != "access_token" {
		return &failure{code: exitRefused, text: "this is a token of bursar itself, and not a " + kind + " of a platform",
			hints: []string{"to trade it in, give --subject-token-type access_token, and the agent's own token " +
				"with --actor-token-file"}}
	}
	return nil
}

// tokenType returns the URI of a token type (RFC 8693 §3) that may be written short.
func tokenType(s string) string {
	if strings.Contains(s, ":") {
		return s
	}
	return tokenTypePrefix + s
}
