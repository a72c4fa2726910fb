package openbao

import (
	"encoding/json"
	"errors"

	"github.com/openbao/openbao/api/v2"
)

// unexpected is the error for an answer that is none.
func unexpected(what string) error {
	return failed(reasonAnswer, "OpenBao does not answer as expected.", what, errors.New("the answer is not in its form"))
}

// number returns a number of an answer's data.
func number(answer *api.Secret, name string) (int64, bool) {
	if answer == nil {
		return 0, false
	}
	n, ok := answer.Data[name].(json.Number)
	if !ok {
		return 0, false
	}
	value, err := n.Int64()
	return value, err == nil
}

// text returns a text of an answer's data.
func text(answer *api.Secret, name string) (string, bool) {
	if answer == nil {
		return "", false
	}
	s, ok := answer.Data[name].(string)
	return s, ok && s != ""
}
