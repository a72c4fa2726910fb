package attack

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// server is what is known of the server.
type server struct {
	Endpoints
	metadata map[string]any // nil if it publishes none
	named    bool           // somebody says what its issuer is; else Issuer is a guess, the URL
}

// discover finds the endpoints: the profile's word first, then the metadata's (RFC 8414 §3, OpenID Connect Discovery
// §4), and if there is none the URL is the token endpoint itself.
func (s *suite) discover(ctx context.Context) error {
	at, err := url.Parse(s.config.URL)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return &Unable{Reason: "the URL is not one of http or https", Hint: "give the issuer or the token endpoint"}
	}
	reached := ""
	for _, place := range places(*at) {
		a := s.get(ctx, place)
		if a.failed != "" {
			reached = a.failed
			continue
		}
		reached = ""
		if endpoint, ok := a.object["token_endpoint"].(string); ok && a.status == http.StatusOK && endpoint != "" {
			s.server.metadata = a.object
			break
		}
	}
	if reached != "" && s.profile.Server.Token == "" {
		return &Unable{Reason: "the server is not reached: " + reached, Hint: "check the address, and that it is running"}
	}
	s.server.Endpoints = s.endpoints()
	_, said := s.server.metadata["issuer"].(string)
	s.server.named = said || s.profile.Server.Issuer != ""
	return nil
}

func (s *suite) endpoints() Endpoints {
	e := s.profile.Server
	for name, field := range map[string]*string{"issuer": &e.Issuer, "token_endpoint": &e.Token,
		"introspection_endpoint": &e.Introspection, "revocation_endpoint": &e.Revocation, "jwks_uri": &e.Keys} {
		if said, ok := s.server.metadata[name].(string); ok && *field == "" {
			*field = said
		}
	}
	if e.Issuer == "" {
		e.Issuer = s.config.URL
	}
	if e.Token == "" {
		e.Token = s.config.URL
	}
	return e
}

// places are where the metadata of an issuer may be.
func places(at url.URL) []string {
	path := strings.TrimSuffix(at.Path, "/")
	var all []string
	for _, p := range []string{"/.well-known/oauth-authorization-server" + path,
		path + "/.well-known/openid-configuration", "/.well-known/openid-configuration" + path} {
		place := url.URL{Scheme: at.Scheme, Host: at.Host, Path: p}
		all = append(all, place.String())
	}
	if path == "" {
		all = all[:2]
	}
	return all
}
