package attack

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// The token types of RFC 8693 §3 may be written short.
const typePrefix = "urn:ietf:params:oauth:token-type:"

func tokenType(short string) string {
	if strings.Contains(short, ":") {
		return short
	}
	return typePrefix + short
}

// source hands out tokens.
type source struct {
	suite  *suite
	config *Source
	kind   string     // URI of the token type
	key    *forge.Key // the issuer's; nil if nobody here has it
	client *client    // who asks the server for tokens; nil otherwise

	last    string // the token that may be used again
	expires time.Time
	public  []*forge.Public // keys that its tokens are verified with; nil if unknown
}

func (s *suite) newSource(c *Source) (*source, error) {
	if c == nil {
		return nil, nil
	}
	made := &source{suite: s, config: c, kind: tokenType(c.Type), client: s.client}
	var err error
	if c.Issuer != nil {
		if made.key, err = readKey(s.profile, c.Issuer.Key); err != nil {
			return nil, err
		}
		made.public = []*forge.Public{made.key.Public()}
	}
	if c.Client != nil {
		made.client, err = newClient(s.profile, c.Client, s.server.Issuer, s.config.Env)
	}
	return made, err
}

// get returns a good token: a fresh one if it can be forged or is good once, else one that still lives a while.
func (o *source) get(ctx context.Context) (string, error) {
	if o.key != nil {
		return o.mint(nil, nil), nil
	}
	if o.last != "" && !o.config.Once && o.suite.now().Before(o.expires) {
		return o.last, nil
	}
	var err error
	if len(o.config.Command) > 0 {
		o.last, err = o.run(ctx)
	} else {
		o.last, err = o.ask(ctx)
	}
	if err != nil {
		return "", err
	}
	o.expires = o.suite.now().Add(time.Minute)
	if t, err := forge.Parse(o.last); err == nil {
		if exp := number(t.Claims()["exp"]); exp > 0 {
			o.expires = time.Unix(exp, 0).Add(-time.Minute)
		}
	}
	return o.last, nil
}

// mint forges a token that is good but for the changes; nil removes a member.
func (o *source) mint(head, claims map[string]any) string {
	h, c := o.members()
	return o.key.Sign(forge.Text(forge.With(h, head)), forge.Text(forge.With(c, claims)))
}

// members are the header and the claims of a good token.
func (o *source) members() (head, claims map[string]any) {
	i, now := o.config.Issuer, o.suite.now()
	lifetime := i.Lifetime
	if lifetime == 0 {
		lifetime = 5 * time.Minute
	}
	claims = forge.With(map[string]any{"iss": i.ISS, "aud": i.Audience, "iat": now.Add(-2 * time.Second).Unix(),
		"exp": now.Add(lifetime).Unix(), "jti": rand.Text()}, i.Claims)
	return forge.With(o.key.Head(), i.Header), claims
}

// run runs the profile's program. What it complains of is not repeated: it may be a token.
func (o *source) run(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*o.suite.config.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.config.Command[0], o.config.Command[1:]...)
	cmd.Dir = o.suite.profile.dir
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("the command %s: %w", o.config.Command[0], err)
	}
	token := strings.TrimSpace(out.String())
	if token == "" || strings.ContainsAny(token, " \n\t") {
		return "", fmt.Errorf("the command %s did not print a token and nothing else", o.config.Command[0])
	}
	return token, nil
}

// ask gets a token of the server itself, or of where the profile says.
func (o *source) ask(ctx context.Context) (string, error) {
	r := o.suite.post(cmp.Or(o.config.Token, o.suite.server.Token), o.client)
	for name, value := range o.config.Request {
		r.set(name, value)
	}
	a := o.suite.send(ctx, r)
	if !a.issued() {
		return "", fmt.Errorf("the server did not issue the token that the profile asks for: %s", a.got())
	}
	return a.token(), nil
}

var errOpaque = errors.New("its tokens are not JWTs")

// sample returns a good token, taken apart.
func (o *source) sample(ctx context.Context) (*forge.Token, string, error) {
	compact, err := o.get(ctx)
	if err != nil {
		return nil, "", err
	}
	t, err := forge.Parse(compact)
	if err != nil {
		return nil, "", errOpaque
	}
	return t, compact, nil
}

// keysAt is where the public keys of the source's tokens are; "" if nobody says.
func (o *source) keysAt() string {
	if o.config.Keys == "" && len(o.config.Request) > 0 {
		return o.suite.server.Keys
	}
	return o.config.Keys
}

// keys are the public keys that the source's tokens are verified with; none if they cannot be found.
func (o *source) keys(ctx context.Context) []*forge.Public {
	if o.public != nil {
		return o.public
	}
	uri := o.keysAt()
	if uri == "" {
		return nil
	}
	if a := o.suite.get(ctx, uri); a.status == 200 {
		o.public, _ = forge.KeySet([]byte(a.body)) // none if it is not a key set
	}
	return o.public
}

// number reads a NumericDate; 0 if it is none.
func number(v any) int64 {
	switch n := v.(type) {
	case json.Number:
		f, err := n.Float64()
		if err == nil {
			return int64(f)
		}
	case float64:
		return int64(n)
	}
	return 0
}
