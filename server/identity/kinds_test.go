package identity_test

import (
	"testing"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/identity"
)

func TestVerifyRefusesOtherTokensOfACluster(t *testing.T) {
	const reason = "token.kubernetes"
	bound := func(namespace, name any) m {
		return m{"namespace": namespace, "serviceaccount": m{"name": name}}
	}
	run(t, identity.Kubernetes, []row{
		{name: "another service account", mint: claims("sub", "system:serviceaccount:dev:bot")},
		{name: "no bound claims", mint: claims("kubernetes.io", nil), reason: reason},
		{name: "bound claims of another namespace", mint: claims("kubernetes.io", bound("dev", "ap-bot")),
			reason: reason},
		{name: "bound claims of another account", mint: claims("kubernetes.io", bound("prod", "other")),
			reason: reason},
		{name: "bound claims without account", mint: claims("kubernetes.io", m{"namespace": "prod"}), reason: reason},
		{name: "bound claims of the wrong type", mint: claims("kubernetes.io", bound(1, []string{"ap-bot"})),
			reason: reason},
		{name: "colons that shift the parts", reason: reason,
			mint: claims("sub", "system:serviceaccount:prod:a:b", "kubernetes.io", bound("prod", "a:b"))},
		{name: "somebody who is no service account", mint: claims("sub", "admin"), reason: reason},
	})
}

func TestVerifyRefusesOtherTokensOfGitHub(t *testing.T) {
	run(t, identity.GitHub, []row{
		{name: "a job of another organisation", mint: claims("sub", "repo:evil/deploy:ref:refs/heads/main"),
			reason: "token.condition"},
		{name: "no repository", mint: claims("repository", nil), reason: "token.github"},
		{name: "no owner", mint: claims("repository_owner", nil), reason: "token.github"},
		{name: "a repository of another owner", mint: claims("repository", "evil/acme"), reason: "token.github"},
		{name: "an owner that is a prefix", mint: claims("repository", "acme-evil/x"), reason: "token.github"},
		{name: "a repository without name", mint: claims("repository", "acme/"), reason: "token.github"},
	})
}

func TestVerifyRefusesOtherSVIDs(t *testing.T) {
	const reason = "token.spiffe"
	rows := []row{
		{name: "typ JOSE", mint: header("typ", "JOSE")},
		{name: "no typ", mint: header("typ", nil)},
		{name: "typ at+jwt", mint: header("typ", "at+jwt"), reason: "token.type"},
		{name: "another header member", mint: header("x5t", "abc"), reason: "token.header"},
		{name: "EdDSA", mint: demoissuer.Request{Alg: "EdDSA"}, reason: "token.algorithm"},
		{name: "as an ID token", as: identity.TypeIDToken, reason: "token.type"},
		{name: "another trust domain", mint: claims("sub", "spiffe://other.example/a"), reason: "token.issuer_missing"},
		{name: "a second audience", mint: claims("aud", []string{audience, "https://other.example"}), reason: reason},
		{name: "aud as a list of one", mint: claims("aud", []string{audience})},
		{name: "an iss is of no account", mint: claims("iss", "https://oidc.demo.example")},
		{name: "an iss that looks like the trust domain", mint: claims("iss", "spiffe://demo.example", "sub", "alice"),
			reason: "token.issuer_unknown"},
		{name: "no iat", mint: claims("iat", nil)},
		{name: "no iat and a long life", mint: demoissuer.Request{Lifetime: "25h", Claims: m{"iat": nil}},
			reason: "token.lifetime"},
		{name: "no exp", mint: claims("exp", nil), reason: "token.date"},
		{name: "no sub", mint: claims("sub", nil), reason: "token.subject"},
	}
	for _, id := range []string{"spiffe://demo.example", "spiffe://demo.example/", "spiffe://demo.example/a/",
		"spiffe://demo.example//a",
		"spiffe://demo.example/./a", "spiffe://demo.example/a/..", "spiffe://demo.example/a?b",
		"spiffe://demo.example/a#b",
		"spiffe://demo.example/a%2fb", "spiffe://demo.example/ä"} {
		rows = append(rows, row{name: id, mint: claims("sub", id), reason: reason})
	}
	for _, id := range []string{"spiffe://DEMO.example/a", "spiffe://demo.example:443/a", "spiffe://me@demo.example/a",
		"spiffe:///a",
		"SPIFFE://demo.example/a", "spiffe://demo.example.evil/a", "spiffe://demo.example?/a"} {
		rows = append(rows, row{name: id, mint: claims("sub", id), reason: "token.issuer_missing"})
	}
	run(t, identity.SPIFFE, rows)
}
