package baotest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// issued is a token.
type issued struct {
	id        string
	namespace string
	policies  []string
	ttl       time.Duration // of each renewal; 0 never expires
	expires   time.Time
	last      time.Time // beyond which none is renewed; zero if there is no such time
	renewable bool
}

// holder returns the token of that id; nil if there is none, or it has expired.
func (s *Server) holder(id string) *issued {
	t := s.tokens[id]
	if t == nil || t.ttl > 0 && !s.now().Before(t.expires) {
		return nil
	}
	return t
}

// issue makes a token.
func (s *Server) issue(t issued, longest time.Duration) answer {
	t.id, t.expires = "s."+random(), s.now().Add(t.ttl)
	if !slices.Contains(t.policies, "default") {
		t.policies = append([]string{"default"}, t.policies...)
	}
	if longest > 0 {
		t.last = s.now().Add(longest)
	}
	s.tokens[t.id] = &t
	return answer{status: http.StatusOK, auth: s.told(&t)}
}

// told is what is said of a token to whom it is given.
func (s *Server) told(t *issued) map[string]any {
	return map[string]any{"client_token": t.id, "accessor": random(), "policies": t.policies,
		"token_policies": t.policies, "metadata": nil, "lease_duration": s.left(t), "renewable": t.renewable,
		"entity_id": "", "token_type": "service", "orphan": true, "mfa_requirement": nil, "num_uses": 0}
}

// left returns how many seconds a token has.
func (s *Server) left(t *issued) int {
	if t.ttl == 0 {
		return 0
	}
	return int(t.expires.Sub(s.now()).Seconds() + .5)
}

// auth answers what is under auth/, but for logins.
func (s *Server) auth(r *request, here *namespace, path string) answer {
	switch path {
	case "token/create":
		return s.createToken(r)
	case "token/lookup-self":
		t := r.holder
		var expires any
		if t.ttl > 0 {
			expires = t.expires.Format(time.RFC3339Nano)
		}
		return ok(map[string]any{"id": t.id, "policies": t.policies, "ttl": s.left(t), "renewable": t.renewable,
			"expire_time": expires, "type": "service", "path": "auth/token/create", "orphan": true})
	case "token/renew-self":
		t := r.holder
		if !t.renewable {
			return refuse(http.StatusBadRequest, "lease is not renewable")
		}
		if t.expires = s.now().Add(t.ttl); !t.last.IsZero() && t.expires.After(t.last) {
			t.expires = t.last
		}
		return answer{status: http.StatusOK, auth: s.told(t)}
	case "token/revoke-self":
		delete(s.tokens, r.holder.id)
		return nothing()
	}
	for at, l := range here.auths {
		if rest, ok := strings.CutPrefix(path, at); ok {
			r.path = rest
			return l.serve(s, r)
		}
	}
	return refuse(http.StatusNotFound, "no handler for route \"auth/"+path+"\". route entry not found.")
}

func (s *Server) createToken(r *request) answer {
	t := issued{namespace: r.namespace, policies: list(r.body["policies"]), renewable: true}
	var longest time.Duration
	var err error
	if t.ttl, err = period(r.body["ttl"], 768*time.Hour); err == nil {
		longest, err = period(r.body["explicit_max_ttl"], 0)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if renewable, given := r.body["renewable"].(bool); given {
		t.renewable = renewable
	}
	return s.issue(t, longest)
}

// period reads a duration: seconds, or a text such as "1h".
func period(v any, absent time.Duration) (time.Duration, error) {
	switch v := v.(type) {
	case float64:
		return time.Duration(v) * time.Second, nil
	case string:
		return time.ParseDuration(v)
	}
	return absent, nil
}

// list reads a list of texts, or one text with commas.
func list(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return strings.Split(v, ",")
	case []any:
		for _, item := range v {
			if text, ok := item.(string); ok {
				all = append(all, text)
			}
		}
	}
	return all
}
