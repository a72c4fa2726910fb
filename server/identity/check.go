package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
)

// algorithms are all that are ever accepted. Symmetric ones are not here, so no public key is ever taken for a secret.
var algorithms = token.Algorithms()

// shared are issuers from which anybody can get a token that names this tenant as its audience. Trusting one without a
// condition would trust its whole user base.
var shared = map[string]Kind{
	"https://token.actions.githubusercontent.com": GitHub,
	"https://accounts.google.com":                 OIDC,
	"https://gitlab.com":                          OIDC,
	"https://app.terraform.io":                    OIDC,
	"https://agent.buildkite.com":                 OIDC,
}

// maxMaxLifetime bounds max_lifetime. Tokens that live longer are static keys.
const maxMaxLifetime = 366 * 24 * time.Hour

// mistakes gathers findings, each "field: what is wrong".
type mistakes []string

func (m *mistakes) add(field, format string, args ...any) {
	*m = append(*m, field+": "+fmt.Sprintf(format, args...))
}

// Check returns every mistake of the entry, each beginning with its field. An entry with mistakes is not trusted.
// Whether the condition compiles, and whether entries get in each other's way (Selectors), is for the caller to find.
func (i Issuer) Check() []string {
	var m mistakes
	i = i.withDefaults()
	if err := scopes.CheckSlug(i.Name); err != nil {
		m.add("name", "%v", err)
	}
	i.checkIdentity(&m)
	i.checkKeySource(&m)
	checkAudiences(&m, i.Audiences)
	checkChoices(&m, "algorithms", i.Algorithms, i.allowedAlgorithms())
	checkChoices(&m, "use", i.Use, []Use{Workload, Subject})
	checkChoices(&m, "replay", []Replay{i.Replay}, []Replay{ReplayOff, ReplayAudit, ReplayOnce})
	if i.AcceptAct && !slices.Contains(i.Use, Subject) {
		m.add("accept_act", "is about subjects that somebody acts for already; add subject to use, or leave it out")
	}
	if d := time.Duration(i.MaxLifetime); d < time.Second || d > maxMaxLifetime {
		m.add("max_lifetime", "must be from 1s to %s", maxMaxLifetime)
	}
	return m
}

// allowedAlgorithms are those the kind may use (JWT-SVID §2.2 has no EdDSA).
func (i Issuer) allowedAlgorithms() []string {
	if i.Kind == SPIFFE {
		return slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return a == "EdDSA" })
	}
	return algorithms
}

// checkIdentity checks what selects the entry and what its kind demands.
func (i Issuer) checkIdentity(m *mistakes) {
	checkChoices(m, "kind", []Kind{i.Kind}, []Kind{OIDC, Kubernetes, SPIFFE, GitHub})
	switch {
	case i.Issuer != "":
		if err := scopes.CheckURL(i.Issuer, scopes.WithPath); err != nil {
			m.add("issuer", "%v", err)
		}
	case i.Kind != SPIFFE:
		m.add("issuer", "is required: the exact iss claim of its tokens")
	}
	switch {
	case i.Kind != SPIFFE && i.TrustDomain != "":
		m.add("trust_domain", "is only for kind spiffe")
	case i.Kind == SPIFFE && !isTrustDomain(i.TrustDomain):
		m.add("trust_domain", "is required: a name of a-z, 0-9, dots, hyphens and underscores, without spiffe://")
	}
	kind, isShared := shared[strings.TrimSuffix(i.Issuer, "/")]
	if kind == GitHub && i.Kind != GitHub {
		m.add("kind", "must be github for this issuer")
	}
	if (isShared || i.Kind == GitHub) && i.Condition == "" {
		m.add("condition", "is required, because anybody can get a token of this issuer; say whose are meant, "+
			`such as claims.repository_owner_id == "1234567"`)
	}
}

func (i Issuer) checkKeySource(m *mistakes) {
	switch {
	case i.JWKSURI != "" && len(i.JWKS) > 0:
		m.add("jwks", "cannot be used together with jwks_uri")
	case i.Kind == SPIFFE && i.JWKSURI == "" && len(i.JWKS) == 0:
		m.add("jwks_uri", "is required, or jwks: keys of a trust domain are never looked up by a token's iss")
	}
	if i.JWKSURI != "" {
		if err := scopes.CheckURL(i.JWKSURI, scopes.WithQuery); err != nil {
			m.add("jwks_uri", "%v", err)
		}
	}
	if len(i.JWKS) > 0 {
		*m = append(*m, checkJWKS(i.JWKS, i.Kind == SPIFFE)...)
		if i.Network.AllowPrivate {
			m.add("network.allow_private", "has no meaning with inline jwks, for which nothing is fetched")
		}
	}
}

func checkAudiences(m *mistakes, audiences []string) {
	if len(audiences) == 0 {
		m.add("audiences", "is required: the aud that its tokens must carry for this tenant")
	}
	for j, aud := range audiences {
		switch {
		case !isText(aud, maxClaim):
			m.add(fmt.Sprintf("audiences[%d]", j), "must be 1 to %d characters without control characters", maxClaim)
		case slices.Index(audiences, aud) < j:
			m.add(fmt.Sprintf("audiences[%d]", j), "is listed twice")
		}
	}
}

// checkChoices adds a mistake for every choice that is unknown or made twice.
func checkChoices[T ~string](m *mistakes, field string, chosen, known []T) {
	for j, c := range chosen {
		path := field
		if len(chosen) > 1 {
			path = fmt.Sprintf("%s[%d]", field, j)
		}
		switch {
		case !slices.Contains(known, c):
			m.add(path, "must be one of %s", strings.Trim(fmt.Sprint(known), "[]"))
		case slices.Index(chosen, c) < j:
			m.add(path, "is listed twice")
		}
	}
}
