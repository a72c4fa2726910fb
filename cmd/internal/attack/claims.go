package attack

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

var errUnseen = errors.New("its tokens are not JWTs, and cannot be introspected either")

// claims returns what an issued token says: by itself if it is a JWT, else as introspection tells it.
func (s *suite) claims(ctx context.Context, token string) (map[string]any, error) {
	if t, err := forge.Parse(token); err == nil {
		return t.Claims(), nil
	}
	if s.server.Introspection == "" || s.reader == nil {
		return nil, errUnseen
	}
	a := s.introspect(ctx, s.reader, token)
	if active, _ := a.object["active"].(bool); !active {
		return nil, errUnseen
	}
	return a.object, nil
}

// seen runs part of a check with what an issued token says.
func (p *probe) seen(ctx context.Context, a *answer, run func(claims map[string]any)) {
	if a == nil {
		return
	}
	claims, err := p.claims(ctx, a.token())
	switch {
	case errors.Is(err, errUnseen):
		p.absent = err.Error()
	case err != nil:
		p.stop("%v", err)
	default:
		run(claims)
	}
}

func (s *suite) introspect(ctx context.Context, c *client, token string) *answer {
	r := s.post(s.server.Introspection, c)
	r.set("token", token)
	return s.send(ctx, r)
}

func (s *suite) revoke(ctx context.Context, c *client, token string) *answer {
	r := s.post(s.server.Revocation, c)
	r.set("token", token)
	return s.send(ctx, r)
}

func active(a *answer) bool {
	is, _ := a.object["active"].(bool)
	return a.status == http.StatusOK && is
}

// published are the server's own keys; none if they cannot be read.
func (s *suite) published(ctx context.Context) []*forge.Public {
	if s.server.Keys == "" {
		return nil
	}
	keys, err := forge.KeySet([]byte(s.get(ctx, s.server.Keys).body))
	if err != nil {
		return nil
	}
	return keys
}

// words returns the scopes of a space-separated list.
func words(v any) []string {
	text, _ := v.(string)
	return strings.Fields(text)
}

// granted returns the scopes that an answer grants: as it says, else as asked for (RFC 6749 §5.1).
func granted(a *answer, asked string) []string {
	if said, ok := a.object["scope"].(string); ok {
		return strings.Fields(said)
	}
	return strings.Fields(asked)
}

// beyond returns the words that are not among the allowed.
func beyond(granted, allowed []string) (more []string) {
	for _, word := range granted {
		if !slices.Contains(allowed, word) {
			more = append(more, shown(word))
		}
	}
	return more
}

// audiences returns aud as a list.
func audiences(claims map[string]any) (list []string) {
	switch aud := claims["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		for _, one := range aud {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}

// chain returns the actors of a token, the current one first.
func chain(claims map[string]any) (subs []string) {
	for act, ok := claims["act"].(map[string]any); ok; act, ok = act["act"].(map[string]any) {
		sub, _ := act["sub"].(string)
		subs = append(subs, sub)
	}
	return subs
}
