package identity

import (
	"errors"
	"strings"
)

const spiffeScheme = "spiffe://"

// checkKind holds a token against what its issuer's kind always puts into it.
func (e *entry) checkKind(c *claims) error {
	switch e.Kind {
	case Kubernetes:
		return checkKubernetes(c)
	case GitHub:
		return checkGitHub(c)
	case SPIFFE:
		return e.checkSPIFFE(c)
	}
	return nil
}

// checkKubernetes wants the bound claims of a projected service-account token, and that they name who sub names. A
// token from a Secret has neither binding nor audience and would live for ever.
func checkKubernetes(c *claims) error {
	bound, _ := c.all["kubernetes.io"].(map[string]any)
	namespace, _ := bound["namespace"].(string)
	account, _ := bound["serviceaccount"].(map[string]any)
	name, _ := account["name"].(string)
	switch {
	case namespace == "" || name == "" || strings.Contains(namespace+name, ":"):
		return refuse(reasonKubernetes, errors.New("no namespace or service account"))
	case c.sub != "system:serviceaccount:"+namespace+":"+name:
		return refuse(reasonKubernetes, errors.New("sub names another service account"))
	}
	return nil
}

// checkGitHub wants to know whose repository the job ran for.
func checkGitHub(c *claims) error {
	repository, _ := c.all["repository"].(string)
	owner, _ := c.all["repository_owner"].(string)
	if rest, ok := strings.CutPrefix(repository, owner+"/"); owner == "" || !ok || rest == "" ||
		strings.Contains(rest, "/") {
		return refuse(reasonGitHub, nil)
	}
	return nil
}

// checkSPIFFE wants the ID of a workload of the entry's own trust domain.
func (e *entry) checkSPIFFE(c *claims) error {
	domain, ok := trustDomain(c.sub)
	if !ok || domain != e.TrustDomain || !isTrustDomain(domain) || !isWorkloadPath(c.sub[len(spiffeScheme+domain):]) {
		return refuse(reasonSPIFFE, errors.New("not the ID of a workload"))
	}
	return nil
}

// trustDomain returns the part of a SPIFFE ID that names its trust domain; the ID may be malformed elsewhere.
func trustDomain(id string) (string, bool) {
	rest, ok := strings.CutPrefix(id, spiffeScheme)
	domain, _, _ := strings.Cut(rest, "/")
	return domain, ok
}

// isTrustDomain reports whether s is a trust domain name (SPIFFE-ID §2.1): no port, user or percent-encoding.
func isTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return !isPathRune(r) || 'A' <= r && r <= 'Z'
	})
}

// isWorkloadPath reports whether s is the path of a SPIFFE ID (SPIFFE-ID §2.2): segments that are neither empty nor
// dots, of letters, digits, dots, hyphens and underscores. Without a path the ID is the trust domain's own.
func isWorkloadPath(s string) bool {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." ||
			strings.ContainsFunc(segment, func(r rune) bool { return !isPathRune(r) }) {
			return false
		}
	}
	return true
}

func isPathRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_'
}
