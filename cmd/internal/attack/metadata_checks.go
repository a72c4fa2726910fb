package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

func metadataChecks() []check {
	return []check{
		{is("metadata.issuer", "I18", findings.Must, findings.Medium, "the metadata is that of the issuer that was asked for",
			"RFC 8414 §3.3", "Publish issuer exactly as the URL that the metadata is derived from."),
			nothing, []need{hasMetadata}, func(_ context.Context, p *probe) {
				same := p.server.metadata["issuer"] == p.config.URL
				p.note(same, "issuer", "the URL that was given", yes(same, "it", "another"))
			}},
		{is("metadata.grant", "", findings.Profile, findings.Low, "the metadata says that tokens can be exchanged",
			"RFC 8414 §2", "List the grant type in grant_types_supported."),
			nothing, []need{hasMetadata}, func(_ context.Context, p *probe) {
				has := slices.Contains(list(p.server.metadata["grant_types_supported"]), grantExchange)
				p.note(has, "grant_types_supported", grantExchange, yes(has, "listed", "not listed"))
			}},
		{is("metadata.algorithms", "T-11", findings.Must, findings.Medium, "no algorithm without a signature is offered",
			"RFC 8414 §2, RFC 8725 §3.1", "Take none out of the lists of algorithms."),
			nothing, []need{hasMetadata}, func(_ context.Context, p *probe) {
				for _, name := range []string{"token_endpoint_auth_signing_alg_values_supported",
					"id_token_signing_alg_values_supported", "dpop_signing_alg_values_supported"} {
					bad := slices.ContainsFunc(list(p.server.metadata[name]), func(alg string) bool {
						return strings.EqualFold(alg,
							"none")
					})
					p.note(!bad, name, "without none", yes(!bad, "without", "with none"))
				}
			}},
		{is("metadata.tls", "OA-01", findings.Must, findings.High,
			"endpoints that see credentials are reached by https, or on loopback",
			"RFC 6749 §3.2, RFC 9700 §2.6", "Serve https; http is for loopback."),
			nothing, nil, func(_ context.Context, p *probe) {
				for name, endpoint := range inOrder(map[string]string{"token_endpoint": p.server.Token,
					"introspection_endpoint": p.server.Introspection, "revocation_endpoint": p.server.Revocation,
					"jwks_uri": p.server.Keys}) {
					if endpoint != "" {
						p.note(guarded(endpoint), name, "https, or http on loopback", yes(guarded(endpoint), "so", "http"))
					}
				}
			}},
		{is("keys.public", "", findings.Must, findings.High, "the key set holds public keys alone",
			"RFC 7517 §9.2", "Publish no private or shared key."),
			nothing, []need{hasKeys}, func(ctx context.Context, p *probe) {
				for _, k := range p.rawKeys(ctx) {
					secret := k["d"] != nil || k["p"] != nil || k["k"] != nil || k["kty"] == "oct"
					p.note(!secret, "a key", "public", yes(!secret, "public", "with private parts"))
				}
			}},
		{is("keys.strength", "", findings.Must, findings.Medium, "keys have the size that their algorithms need, and a name",
			"RFC 7518 §3.3, RFC 7517 §4.5", "Use RSA of 2048 bits or more, and give every key a kid of its own."),
			nothing, []need{hasKeys}, func(ctx context.Context, p *probe) {
				seen := map[any]bool{}
				for _, k := range p.rawKeys(ctx) {
					if n, ok := k["n"].(string); ok {
						p.note(len(n) >= 342, "an RSA key", "2048 bits or more", fmt.Sprintf("about %d bits", len(n)*6))
					}
					p.noteAs(findings.Low, findings.Profile, k["kid"] != nil && !seen[k["kid"]], "a key", "a kid of its own",
						yes(k["kid"] != nil, yes(seen[k["kid"]], "that of another", "one"), "none"))
					seen[k["kid"]] = true
				}
			}},
	}
}

func list(v any) (texts []string) {
	items, _ := v.([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// guarded reports whether nobody can listen on the way to an endpoint.
func guarded(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "https" {
		return err == nil
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (p *probe) rawKeys(ctx context.Context) []map[string]any {
	a := p.get(ctx, p.server.Keys)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if json.Unmarshal([]byte(a.body), &set) != nil || a.status != 200 {
		p.stop("the key set cannot be read: %s", a.got())
	}
	return set.Keys
}
