// Package scopes is the vocabulary and the algebra of what may be asked: names, addresses, scopes ("tool:action") and
// sets of them. It imports the standard library only. Sets shrink by Meet and never grow; the zero value of everything
// grants nothing.
package scopes

import (
	"errors"
	"fmt"
	"strings"
)

// MaxName bounds every name, in bytes.
const MaxName = 63

// CheckSlug reports why s is not a slug: [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?. Tenants, clients, tools, policies and
// trusted issuers are named by slugs, which therefore need no escaping in URLs, scopes and storage keys.
func CheckSlug(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("is empty; use 1 to %d of a-z, 0-9 and inner hyphens", MaxName)
	case len(s) > MaxName:
		return fmt.Errorf("has %d characters; at most %d are allowed", len(s), MaxName)
	case s[0] == '-' || s[len(s)-1] == '-':
		return errors.New("begins or ends with a hyphen")
	}
	for i := range len(s) {
		if !isSlugByte(s[i]) {
			return errors.New("may hold only a-z, 0-9 and inner hyphens")
		}
	}
	return nil
}

// CheckAction reports why s is not the name of an action: slugs joined by single dots, such as "refunds.create".
func CheckAction(s string) error {
	if len(s) > MaxName {
		return fmt.Errorf("has %d characters; at most %d are allowed", len(s), MaxName)
	}
	for part := range strings.SplitSeq(s, ".") {
		if CheckSlug(part) != nil {
			return errors.New("must be words of a-z, 0-9 and inner hyphens, joined by single dots")
		}
	}
	return nil
}

func isSlugByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-'
}
