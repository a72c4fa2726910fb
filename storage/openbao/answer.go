package openbao

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/openbao/openbao/api/v2"
)

// unexpected is the error for an answer that is none.
func unexpected(what string) error {
	return failed(reasonAnswer, "OpenBao does not answer as expected.", what, errors.New("the answer is not in its form"))
}

// read reads a path. The answer is nil for what does not exist there. That there is no such mount, or no such
// namespace, is an error: both are answered with the same status, and the library makes no difference.
func read(ctx context.Context, from *api.Logical, path string) (*api.Secret, error) {
	resp, err := from.ReadRawWithContext(ctx, path)
	var refused *api.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound && len(refused.Errors) > 0 {
		_ = resp.Body.Close() // it was read
		return nil, err
	}
	return from.ParseRawResponseAndCloseBody(resp, err)
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
