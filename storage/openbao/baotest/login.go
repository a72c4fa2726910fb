package baotest

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// role is what a login gives, and to whom.
type role struct {
	subjects, audiences  []string
	accounts, namespaces []string
	policies             []string
	ttl, longest         time.Duration
}

func readRole(body map[string]any) (role, error) {
	r := role{audiences: list(body["bound_audiences"]), accounts: list(body["bound_service_account_names"]),
		namespaces: list(body["bound_service_account_namespaces"]), policies: list(body["token_policies"])}
	if subject, given := body["bound_subject"].(string); given {
		r.subjects = []string{subject}
	}
	var err error
	if r.ttl, err = period(body["token_ttl"], time.Hour); err == nil {
		r.longest, err = period(body["token_max_ttl"], 0)
	}
	return r, err
}

func (o role) issue(s *Server, r *request) answer {
	return s.issue(issued{namespace: r.namespace, policies: slices.Clone(o.policies), ttl: o.ttl, renewable: true},
		o.longest)
}

// jwt is an auth method that takes JWTs which one of some keys has signed.
type jwt struct {
	keys  *[]any
	roles map[string]role
}

func newJWT() jwt { return jwt{new([]any), map[string]role{}} }

func (j jwt) serve(s *Server, r *request) answer {
	name, isRole := strings.CutPrefix(r.path, "role/")
	switch {
	case r.path == "login":
		return j.login(s, r)
	case r.path == "config":
		for _, text := range list(r.body["jwt_validation_pubkeys"]) {
			block, _ := pem.Decode([]byte(text))
			if block == nil {
				return refuse(http.StatusBadRequest, "error parsing public key")
			}
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return refuse(http.StatusBadRequest, "error parsing public key: "+err.Error())
			}
			*j.keys = append(*j.keys, key)
		}
		return nothing()
	case isRole:
		made, err := readRole(r.body)
		if err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		j.roles[name] = made
		return nothing()
	}
	return refuse(http.StatusMethodNotAllowed, "unsupported operation")
}

func (j jwt) login(s *Server, r *request) answer {
	o, known := j.roles[r.text("role")]
	if !known {
		return refuse(http.StatusBadRequest, "role \""+r.text("role")+"\" could not be found")
	}
	signed, err := jose.ParseSignedCompact(r.text("jwt"), []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
	if err != nil {
		return refuse(http.StatusBadRequest, "error parsing token: "+err.Error())
	}
	for _, key := range *j.keys {
		payload, err := signed.Verify(key)
		if err != nil {
			continue
		}
		c := claims(payload)
		switch {
		case !slices.ContainsFunc(c.audiences(), func(a string) bool { return slices.Contains(o.audiences, a) }):
			return refuse(http.StatusBadRequest, "error validating token: invalid audience (aud) claim: "+
				"audience claim does not match any bound audience")
		case o.subjects != nil && !slices.Contains(o.subjects, c.Subject):
			return refuse(http.StatusBadRequest, "error validating token: invalid subject (sub) claim")
		case s.now().After(time.Unix(c.Expires, 0)):
			return refuse(http.StatusBadRequest, "error validating token: token is expired")
		}
		return o.issue(s, r)
	}
	return refuse(http.StatusBadRequest, "error validating token: error verifying token signature: "+
		"no known key successfully validated the token signature")
}

type said struct {
	Subject  string `json:"sub"`
	Audience any    `json:"aud"`
	Expires  int64  `json:"exp"`
}

func claims(payload []byte) (c said) {
	_ = json.Unmarshal(payload, &c)
	return c
}

func (c said) audiences() []string { return list(c.Audience) }

// kubernetes is an auth method that asks the API server of a cluster whose a token is.
type kubernetes struct {
	host  *string
	roles map[string]role
}

func newKubernetes() kubernetes { return kubernetes{new(string), map[string]role{}} }

func (k kubernetes) serve(s *Server, r *request) answer {
	name, isRole := strings.CutPrefix(r.path, "role/")
	switch {
	case r.path == "login":
		return k.login(s, r)
	case r.path == "config":
		*k.host = r.text("kubernetes_host")
		return nothing()
	case isRole:
		made, err := readRole(r.body)
		if err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		k.roles[name] = made
		return nothing()
	}
	return refuse(http.StatusMethodNotAllowed, "unsupported operation")
}

func (k kubernetes) login(s *Server, r *request) answer {
	o, known := k.roles[r.text("role")]
	if !known {
		return refuse(http.StatusBadRequest, "invalid role name \""+r.text("role")+"\"")
	}
	text, _ := json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"spec": map[string]any{"token": r.text("jwt")}})
	resp, err := http.Post(*k.host+"/apis/authentication.k8s.io/v1/tokenreviews", "application/json",
		bytes.NewReader(text))
	if err != nil {
		return refuse(http.StatusInternalServerError, "token review failed")
	}
	defer func() { _ = resp.Body.Close() }()
	var review struct {
		Status struct {
			Authenticated bool
			User          struct{ Username string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&review); err != nil || !review.Status.Authenticated {
		return denied()
	}
	who := strings.Split(review.Status.User.Username, ":") // system:serviceaccount:<namespace>:<name>
	if len(who) != 4 || !slices.Contains(o.namespaces, who[2]) || !slices.Contains(o.accounts, who[3]) {
		return denied()
	}
	return o.issue(s, r)
}
