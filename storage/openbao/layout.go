package openbao

import (
	"errors"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
)

// Layout is where the values of tenants are. Each part may hold {tenant}, for the tenant's slug, as a part of a segment
// or a whole one; one of them must, so that no two tenants share a place.
type Layout struct {
	Namespace string // empty for that of the login
	Mount     string // of a KV engine of version 2
	Path      string // under it
}

// placeholder stands for a tenant's slug.
const placeholder = "{tenant}"

// Check reports why the layout cannot be used, as the ends of sentences that begin with the names of the parts, which
// are namespace, mount and path.
func (l Layout) Check() map[string]error {
	wrong := map[string]error{}
	for name, part := range map[string]string{"namespace": l.Namespace, "mount": l.Mount, "path": l.Path} {
		if part != "" && !IsPath(strings.ReplaceAll(part, placeholder, "tenant")) {
			wrong[name] = errors.New("must be segments of a-z, A-Z, 0-9, hyphen and underscore, joined by slashes; " +
				placeholder + " stands for the tenant")
		}
	}
	switch {
	case l.Mount == "":
		wrong["mount"] = errors.New("is required")
	case len(wrong) == 0 && !strings.Contains(l.Namespace+l.Mount+l.Path, placeholder):
		wrong["path"] = errors.New("must hold " + placeholder + ", or namespace or mount must: tenants do not share a place")
	}
	return wrong
}

// of returns the layout of one tenant.
func (l Layout) of(slug string) (Layout, error) {
	if err := scopes.CheckSlug(slug); err != nil {
		return Layout{}, errors.New("the tenant's name is no slug")
	}
	for _, err := range l.Check() {
		return Layout{}, err
	}
	set := func(s string) string { return strings.ReplaceAll(s, placeholder, slug) }
	return Layout{set(l.Namespace), set(l.Mount), set(l.Path)}, nil
}

// data returns the path of a value in the API of the engine.
func (l Layout) data(what, secret, id string) string {
	segments := []string{l.Mount, what, l.Path, secret, id}
	if l.Path == "" {
		segments = []string{l.Mount, what, secret, id}
	}
	return strings.Join(segments, "/")
}

// IsPath reports whether s is segments that no server reads in two ways.
func IsPath(s string) bool {
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "" || strings.Trim(segment, letters) != "" {
			return false
		}
	}
	return len(s) <= 256
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
