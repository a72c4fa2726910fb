package adminapi

import "github.com/bursar-sts/bursar/clients/operator"

// Decode reads a body as the handlers do.
func Decode(body []byte) (operator.OperatorRequest, error) {
	return decode[operator.OperatorRequest](body)
}

// ParseQuery reads a query as the handlers do; it knows after, limit and prune.
func ParseQuery(raw string) (map[string]int64, error) {
	return parseQuery(raw, []param{
		{name: "after", min: -999_999, max: 999_999},
		{name: "limit", min: 1, max: 1000},
		{name: "prune", boolean: true},
	})
}
