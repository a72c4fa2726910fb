package identity

import (
	"errors"

	"github.com/bursar-sts/bursar/clients/token"
)

// Party is somebody whom an issuer names in a token: the iss and sub of an actor (RFC 8693 §4.1) or of the one who may
// become it (§4.4). Issuer is the token's own where the claim gives none.
type Party struct{ Issuer, Subject string }

// delegation reads what a token says of actors: who may act for its subject, and who already does, the current one
// first. Only an issuer that is trusted with it may say the latter.
func (e *entry) delegation(c *claims, issuer string) (mayAct *Party, actors []Party, err error) {
	if value, present := c.all["may_act"]; present {
		if mayAct, err = readMayAct(value, issuer); err != nil {
			return nil, nil, err
		}
	}
	if value, present := c.all["act"]; present {
		if !e.AcceptAct {
			return nil, nil, refuse(reasonAct, nil)
		}
		actors, err = readActors(value, issuer)
	}
	return mayAct, actors, err
}

// readMayAct reads a may_act. A member that is not understood might restrict the party further, so the token is
// refused; an empty object never means anybody.
func readMayAct(value any, issuer string) (*Party, error) {
	members, _ := value.(map[string]any)
	for name := range members {
		if name != "iss" && name != "sub" {
			return nil, refuse(reasonMayAct, nil)
		}
	}
	p, ok := readParty(members, issuer)
	if !ok {
		return nil, refuse(reasonMayAct, nil)
	}
	return &p, nil
}

// readActors reads a chain of actors. It keeps who they are and drops all else: times and audiences mean nothing there
// (RFC 8693 §4.1), and what is kept may be signed again by us.
func readActors(value any, issuer string) (actors []Party, err error) {
	for present := true; present; {
		members, _ := value.(map[string]any)
		p, ok := readParty(members, issuer)
		switch {
		case !ok:
			return nil, refuse(reasonActForm, nil)
		case len(actors) == token.MaxActors:
			return nil, refuse(reasonActForm, errors.New("too many actors"))
		}
		actors = append(actors, p)
		value, present = members["act"]
	}
	return actors, nil
}

// readParty reads iss, which may be absent, and sub.
func readParty(members map[string]any, issuer string) (p Party, ok bool) {
	p.Issuer = issuer
	if iss, present := members["iss"]; present {
		if p.Issuer, ok = iss.(string); !ok || !isText(p.Issuer, maxClaim) {
			return Party{}, false
		}
	}
	p.Subject, ok = members["sub"].(string)
	return p, ok && isText(p.Subject, maxClaim)
}
