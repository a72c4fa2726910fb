package demoissuer

import (
	"strings"
	"time"
)

// usual is each kind's usual token.
var usual = map[Kind]struct {
	alg    string
	claims func(i *Issuer, sub string) map[string]any
	sub    func(i *Issuer) string
}{
	OIDC: {alg: "ES256", claims: userClaims, sub: func(*Issuer) string { return "alice" }},
	Kubernetes: {alg: "RS256", claims: serviceAccountClaims,
		sub: func(*Issuer) string { return "system:serviceaccount:prod:ap-bot" }},
	SPIFFE: {alg: "ES256", claims: func(*Issuer, string) map[string]any { return map[string]any{} },
		sub: func(i *Issuer) string { return "spiffe://" + i.config.TrustDomain + "/ns/prod/sa/ap-bot" }},
	GitHub: {alg: "RS256", claims: jobClaims,
		sub: func(*Issuer) string { return "repo:acme/deploy:ref:refs/heads/main" }},
}

// claims returns the payload of a token with the given changes.
func (i *Issuer) claims(changes map[string]any, lifetime time.Duration) map[string]any {
	kind := usual[i.config.Kind]
	sub, ok := changes["sub"].(string)
	if !ok {
		sub = kind.sub(i)
	}
	now := i.config.Now()
	all := kind.claims(i, sub)
	all["sub"] = sub
	all["aud"] = i.config.Audience
	all["iat"] = now.Unix()
	all["exp"] = now.Add(lifetime).Unix()
	if i.config.Kind != SPIFFE { // a JWT-SVID has neither
		all["iss"] = i.config.URL
		all["jti"] = random()
	}
	if i.config.Kind == Kubernetes {
		all["aud"] = []string{i.config.Audience}
	}
	replace(all, changes)
	return all
}

func userClaims(i *Issuer, sub string) map[string]any {
	return map[string]any{
		"auth_time":          i.config.Now().Add(-time.Minute).Unix(),
		"azp":                i.config.Audience,
		"email":              sub + "@acme.example",
		"email_verified":     true,
		"groups":             []string{"finance", "staff"},
		"name":               strings.ToUpper(sub[:min(1, len(sub))]) + sub[min(1, len(sub)):],
		"preferred_username": sub,
	}
}

// serviceAccountClaims are those of a projected token of a pod. They follow sub, "system:serviceaccount:<ns>:<name>".
func serviceAccountClaims(i *Issuer, sub string) map[string]any {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(sub, "system:serviceaccount:"), ":")
	return map[string]any{
		"nbf": i.config.Now().Unix(),
		"kubernetes.io": map[string]any{
			"namespace":      namespace,
			"node":           map[string]any{"name": "node-1", "uid": "0a1c3c9e-52f1-4f0d-9f6c-6f0f6b1d2a11"},
			"pod":            map[string]any{"name": name + "-7d9c", "uid": "5b0b3a3e-8a39-4b1a-8e8e-2f6f1f0c7d22"},
			"serviceaccount": map[string]any{"name": name, "uid": "c9d6c0de-70a5-4d8b-a2c4-3b9f8e7d6c33"},
		},
	}
}

// jobClaims are those of a job. They follow sub, "repo:<owner>/<name>:…".
func jobClaims(i *Issuer, sub string) map[string]any {
	repository, _, _ := strings.Cut(strings.TrimPrefix(sub, "repo:"), ":")
	owner, _, _ := strings.Cut(repository, "/")
	return map[string]any{
		"actor":                 "octocat",
		"event_name":            "push",
		"job_workflow_ref":      repository + "/.github/workflows/deploy.yml@refs/heads/main",
		"nbf":                   i.config.Now().Unix(),
		"ref":                   "refs/heads/main",
		"ref_type":              "branch",
		"repository":            repository,
		"repository_id":         "74",
		"repository_owner":      owner,
		"repository_owner_id":   "65",
		"repository_visibility": "private",
		"run_attempt":           "1",
		"run_id":                "30433642",
		"run_number":            "10",
		"runner_environment":    "github-hosted",
		"sha":                   "0123456789abcdef0123456789abcdef01234567",
		"workflow":              "deploy",
	}
}
