package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/token"
)

// inspected is what token inspect found.
type inspected struct {
	Header json.RawMessage `json:"header"`
	Claims json.RawMessage `json:"claims"`
	// Signature is "unverified", "verified" or "refused".
	Signature string `json:"signature"`
	Reason    string `json:"reason,omitempty"` // why it is refused
	// Active is the server's answer; absent if it was not asked.
	Active *bool `json:"active,omitempty"`
}

// inspection are the flags of token inspect.
type inspection struct {
	program    *program
	issuer     issuerFlags
	jwksFile   string
	audience   string
	introspect bool
	asJSON     *bool
}

func (p *program) tokenInspectCommand() *cobra.Command {
	x := inspection{program: p}
	cmd := command("inspect [FILE] [--jwks FILE | --issuer URL] [--introspect]",
		"Show what a token says; with --jwks or --issuer, whether it is true", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error {
			path := "-"
			if len(args) == 1 {
				path = args[0]
			}
			if strings.HasPrefix(path, "eyJ") {
				return usage("a token on the command line can be read by other users of this machine",
					"give it in a file or on standard input")
			}
			return p.inspect(ctx, path, &x)
		})
	x.issuer.add(cmd, "issuer whose published keys must have signed it")
	x.asJSON = jsonFlag(cmd)
	cmd.Flags().StringVar(&x.jwksFile, "jwks", "", "file with the issuer's JWKS, to verify without asking anybody")
	cmd.Flags().StringVar(&x.audience, "audience", "", "resource URI that it must be for")
	cmd.Flags().BoolVar(&x.introspect, "introspect", false, "ask the issuer whether it is active (RFC 7662)")
	return cmd
}

func (p *program) inspect(ctx context.Context, path string, x *inspection) error {
	compact, err := p.readToken(path)
	if err != nil {
		return err
	}
	found, err := decode(compact)
	if err != nil {
		return err
	}
	failed := x.verify(ctx, compact, found)
	if failed != nil && explain(&ran{failed}).code != exitRefused {
		return failed
	}
	if x.introspect && failed == nil {
		if failed = x.ask(ctx, compact, found); failed != nil && found.Active == nil {
			return failed
		}
	}
	if *x.asJSON {
		return errors.Join(p.printJSON(found), failed)
	}
	return errors.Join(p.printInspected(found), failed)
}

// readToken reads a token from a file, or from standard input for "-".
func (p *program) readToken(path string) (string, error) {
	data, err := p.readInput(path)
	if err != nil {
		return "", err
	}
	compact := strings.TrimSpace(string(data))
	if compact == "" {
		return "", fmt.Errorf("there is no token in %s", cmp.Or(strings.TrimPrefix(path, "-"), "standard input"))
	}
	return compact, nil
}

// decode takes a token apart and proves nothing.
func decode(compact string) (*inspected, error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return nil, errors.New("this is not a JWT: it does not have three parts")
	}
	found := &inspected{Signature: "unverified"}
	for i, to := range []*json.RawMessage{&found.Header, &found.Claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		var object map[string]json.RawMessage
		if err != nil || json.Unmarshal(data, &object) != nil {
			return nil, errors.New("this is not a JWT: a part of it is not a JSON object in base64url")
		}
		*to = data
	}
	return found, nil
}

// verify checks the token if there are keys to do so, and notes in found what came of it.
func (x *inspection) verify(ctx context.Context, compact string, found *inspected) error {
	if x.jwksFile == "" && x.issuer.url == "" {
		if x.audience != "" {
			return usage("an audience is checked together with the signature", "give --jwks or --issuer")
		}
		return nil
	}
	jwks, err := x.keys(ctx)
	if err != nil {
		return err
	}
	keys, err := token.KeySet(jwks)
	if err != nil {
		return fmt.Errorf("read the JWKS: %w", err)
	}
	// What is not asked for is taken from the token itself, so that it cannot be the reason of a refusal.
	var own struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
	}
	_ = json.Unmarshal(found.Claims, &own) // claims of other types are refused below
	v := token.Verifier{Issuer: cmp.Or(x.issuer.url, own.Issuer), Audience: cmp.Or(x.audience, own.Audience), Keys: keys}
	if v.Issuer == "" || v.Audience == "" {
		found.Signature, found.Reason = "refused", "it names no issuer or no single audience"
		return &failure{code: exitRefused, text: "the token is refused: " + found.Reason}
	}
	_, err = v.Verify(ctx, compact)
	if refused, ok := errors.AsType[*token.Error](err); ok {
		found.Signature, found.Reason = "refused", refused.Reason
		text := "the token is refused: " + refused.Reason
		if refused.Reason == token.ReasonAudience {
			text += fmt.Sprintf(": it is for %s, and not for %s", own.Audience, v.Audience)
		}
		return &failure{code: exitRefused, text: text}
	}
	if err == nil {
		found.Signature = "verified"
	}
	return err
}

// keys returns the JWKS of the file, or of the issuer.
func (x *inspection) keys(ctx context.Context) ([]byte, error) {
	if x.jwksFile != "" {
		return x.program.readInput(x.jwksFile)
	}
	s, err := x.issuer.open()
	if err != nil {
		return nil, err
	}
	m, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	return s.get(ctx, m.JWKSURI)
}

// ask introspects the token (RFC 7662 §2).
func (x *inspection) ask(ctx context.Context, compact string, found *inspected) error {
	if x.issuer.url == "" || x.issuer.clientID == "" {
		return usage("introspection needs --issuer, --client-id and --client-secret-file",
			"a resource server may introspect the tokens of its tools")
	}
	s, err := x.issuer.open()
	if err != nil {
		return err
	}
	m, err := s.discover(ctx)
	if err != nil {
		return err
	}
	body, err := s.post(ctx, m.IntrospectionEndpoint, url.Values{"token": {compact}})
	if err != nil {
		return err
	}
	var answer struct {
		Active *bool `json:"active"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Active == nil {
		return fmt.Errorf("%w: its answer does not say whether the token is active", errNoAnswer)
	}
	found.Active = answer.Active
	if !*answer.Active {
		return &failure{code: exitRefused, text: "the token is not active, or not this client's to ask about"}
	}
	return nil
}

// dates are the claims that hold a time (RFC 7519 §4.1).
var dates = []string{"iat", "exp", "nbf", "auth_time"}

func (p *program) printInspected(found *inspected) error {
	if found.Active != nil {
		answer := "INACTIVE: revoked, expired, or not this client's to ask about"
		if *found.Active {
			answer = "ACTIVE: the issuer says so"
		}
		fmt.Fprintln(p.out, answer)
	}
	state := map[string]string{
		"unverified": "UNVERIFIED: anybody can write what follows; --jwks or --issuer verifies it",
		"verified":   "verified: signed by the issuer, for this audience, and not expired",
		"refused":    "REFUSED: " + found.Reason + "; what follows is not to be believed",
	}[found.Signature]
	fmt.Fprintln(p.out, harmless(state))
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"header", found.Header}, {"claims", found.Claims}} {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(part.raw, &members); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "\n%s\n", part.name)
		width := 0
		for name := range members {
			width = max(width, len(name))
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			line := fmt.Sprintf("  %-*s  %s", width, name, members[name])
			if seconds := int64(0); slices.Contains(dates, name) && json.Unmarshal(members[name], &seconds) == nil {
				line += "  (" + stamp(time.Unix(seconds, 0)) + ")"
			}
			fmt.Fprintln(p.out, harmless(line))
		}
	}
	return nil
}
