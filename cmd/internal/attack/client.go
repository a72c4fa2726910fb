package attack

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 §2.2

// client authenticates requests.
type client struct {
	id, auth string
	secret   string
	key      *forge.Key
	audience string
	// tamper changes the assertion that would be sent; nil leaves it alone.
	tamper func(head, claims map[string]any) string
}

// newClient reads what a client of the profile needs. audience is that of assertions, if the profile does not name one.
func newClient(p *Profile, c *Client, audience string, env func(string) string) (*client, error) {
	if c == nil {
		return nil, nil
	}
	made := &client{id: c.ID, auth: c.Auth, secret: c.Secret, audience: audience}
	if c.Audience != "" {
		made.audience = c.Audience
	}
	switch {
	case c.SecretIn != "":
		text, err := os.ReadFile(p.path(c.SecretIn))
		if err != nil {
			return nil, err
		}
		made.secret = strings.TrimSpace(string(text))
	case c.SecretEnv != "":
		if made.secret = env(c.SecretEnv); made.secret == "" {
			return nil, fmt.Errorf("the secret of %s: %s is not in the environment", c.ID, c.SecretEnv)
		}
	}
	if c.Auth == authKey {
		var err error
		made.key, err = readKey(p, c.Key)
		return made, err
	}
	return made, nil
}

func readKey(p *Profile, k Key) (*forge.Key, error) {
	text, err := os.ReadFile(p.path(k.File))
	if err != nil {
		return nil, err
	}
	key, err := forge.ReadKey(text, k.ID, k.Alg)
	if err != nil {
		return nil, fmt.Errorf("the key in %s: %w", k.File, err)
	}
	return key, nil
}

// sign puts the client's credentials into a request. What the request holds already stays, so that a check can bring
// its own.
func (c *client) sign(r *request, now time.Time) error {
	switch c.auth {
	case authNone:
		if c.id != "" && !r.form.Has("client_id") {
			r.set("client_id", c.id)
		}
	case authBasic:
		if r.header.Get("Authorization") == "" {
			r.header.Set("Authorization", basic(c.id, c.secret))
		}
	case authPost:
		for name, value := range map[string]string{"client_id": c.id, "client_secret": c.secret} {
			if !r.form.Has(name) {
				r.set(name, value)
			}
		}
	case authKey:
		if r.form.Has("client_assertion") {
			return nil
		}
		r.set("client_assertion_type", jwtBearer)
		r.set("client_assertion", c.assertion(now))
	default:
		return errors.New("the client has no way to authenticate")
	}
	if r.method == http.MethodGet && r.query != "" { // its credentials are needed where the rest is
		r.query = encodeForm(r.form)
	}
	return nil
}

// assertion returns one of RFC 7523 §3, fresh for every request.
func (c *client) assertion(now time.Time) string {
	head, claims := c.key.Head(), c.claims(now)
	if c.tamper != nil {
		return c.tamper(head, claims)
	}
	return c.key.Sign(forge.Text(head), forge.Text(claims))
}

func (c *client) claims(now time.Time) map[string]any {
	return map[string]any{"iss": c.id, "sub": c.id, "aud": c.audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix()}
}

// confidential reports whether the client proves itself by credentials of its own.
func (c *client) confidential() bool { return c != nil && c.auth != authNone }

func (c *client) hasSecret() bool { return c != nil && (c.auth == authBasic || c.auth == authPost) }

// basic is the header of RFC 6749 §2.3.1.
func basic(id, secret string) string {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}
