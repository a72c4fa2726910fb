package tools

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/bursar-sts/bursar/server/fault"
)

// CallDetails is the one type of authorization_details (RFC 9396 §2) that is known here: of the calls that the token's
// scope allows, those that are like it.
const CallDetails = "urn:bursar:call:v1"

// detail is one element of that type. What a field does not say, it does not narrow.
type detail struct {
	Type    string           `json:"type"`
	Actions []string         `json:"actions,omitempty"` // actions of the tool
	Methods []string         `json:"methods,omitempty"`
	Paths   []string         `json:"paths,omitempty"` // templates, as in a rule
	JSON    map[string][]any `json:"json,omitempty"`  // as in a rule
}

// maxDetails bounds the elements of authorization_details.
const maxDetails = 64

// Narrow returns the match as the authorization_details of a token narrow it: the call has to be like one of them, and
// CheckBody judges by those it is like. raw is the claim, a JSON array. A claim with anything that is not understood,
// which may be a restriction, allows nothing: the reason of that *fault.Error is details.unknown. That of a call that
// is like none is details.not_allowed.
func (m *Match) Narrow(raw []byte) (*Match, error) {
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil || len(all) == 0 || len(all) > maxDetails {
		return nil, refuseDetails()
	}
	narrow := *m
	narrow.details = nil
	for _, element := range all {
		d, err := parseDetail(element)
		if err != nil {
			return nil, err
		}
		if like, err := m.like(d); err != nil {
			return nil, err
		} else if like {
			narrow.details = append(narrow.details, d)
		}
	}
	if narrow.details == nil {
		return nil, fault.New(fault.Forbidden, "details.not_allowed",
			"The authorization_details of the token do not allow this call.")
	}
	return &narrow, nil
}

func refuseDetails() error {
	return fault.New(fault.Forbidden, "details.unknown",
		"The token is restricted by authorization_details that are not understood here.")
}

// parseDetail reads one element. Names that are not known, or are known in another case, make it unknown.
func parseDetail(element []byte) (detail, error) {
	var d detail
	document, err := parseJSON(element)
	object, ok := document.(map[string]node)
	if err != nil || !ok {
		return d, refuseDetails()
	}
	for name, value := range object {
		list, isList := value.([]node)
		places, isObject := value.(map[string]node)
		// An empty list would be no restriction here, and was meant as the hardest.
		if !slices.Contains([]string{"type", "actions", "methods", "paths", "json"}, name) ||
			isList && len(list) == 0 || isObject && len(places) == 0 || value == nil {
			return d, refuseDetails()
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(element))
	decoder.UseNumber()
	if err := decoder.Decode(&d); err != nil || d.Type != CallDetails || len(checkConstraints(d.JSON)) > 0 {
		return d, refuseDetails()
	}
	return d, nil
}

// like reports whether the call is one of a detail's.
func (m *Match) like(d detail) (bool, error) {
	path, err := segments(m.Path, m.upstream.AllowEncodedSlash)
	if err != nil {
		return false, refuseForm(err)
	}
	on := len(d.Paths) == 0
	for _, text := range d.Paths {
		t, err := parseTemplate(text, m.upstream.AllowEncodedSlash)
		if err != nil {
			return false, refuseDetails()
		}
		on = on || t.matches(path)
	}
	return on && (len(d.Actions) == 0 || slices.Contains(d.Actions, m.Rule.Action)) &&
		(len(d.Methods) == 0 || slices.Contains(d.Methods, m.method)), nil
}
