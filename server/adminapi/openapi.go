package adminapi

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/front"
)

// object is a JSON object of the description.
type object = map[string]any

// openapi answers the description of the API (OpenAPI 3.1.1). It is made of the routes and of the wire types that serve
// it, so that it cannot say anything else than they do.
func (a *API) openapi(call) (answer, error) {
	return ok(describe(routes(), a.cfg.Version)), nil
}

func describe(all []route, version string) object {
	d := describer{schemas: object{}}
	paths := map[string]object{}
	for _, r := range all {
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path][strings.ToLower(r.method)] = d.operation(r)
	}
	d.schema(typ[operator.Problem]())
	return object{
		"openapi": "3.1.1",
		"info": object{
			"title":   "bursar admin API",
			"version": version,
			"description": "Every call but openapi carries an operator token. Refusals are problem documents (RFC 9457) " +
				"whose type is " + operator.ProblemPrefix + " and a code. " +
				"Unknown members and parameters of a request are refused.",
		},
		"servers":  []object{{"url": Prefix}},
		"paths":    paths,
		"security": []object{{"operatorToken": []string{}}},
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"operatorToken": object{"type": "http", "scheme": "bearer"}},
		},
	}
}

// describer gathers the schemas that operations refer to.
type describer struct{ schemas object }

func (d describer) operation(r route) object {
	op := object{"operationId": r.name}
	if r.scope() == forAll {
		op["security"] = []object{}
	}
	if params := d.parameters(r); len(params) > 0 {
		op["parameters"] = params
	}
	if len(r.body.media) > 0 {
		content := object{}
		for _, m := range r.body.media {
			content[m] = object{"schema": d.bodySchema(r.body)}
		}
		op["requestBody"] = object{"required": true, "content": content}
	}
	responses := object{}
	for _, status := range r.status {
		response := object{"description": http.StatusText(status)}
		if r.stream {
			response["content"] = object{binaryMedia: object{"schema": object{"type": "string", "format": "binary"}}}
		}
		if r.answer != nil {
			response["content"] = object{jsonMedia: object{"schema": d.schema(r.answer)}}
		}
		responses[strconv.Itoa(status)] = response
	}
	for _, code := range r.codes() {
		responses[strconv.Itoa(front.StatusOf(code))] = d.problem(code)
	}
	op["responses"] = responses
	return op
}

// problem describes the response with a code; each status has one.
func (d describer) problem(code string) object {
	specific := object{"properties": object{"type": object{"const": operator.ProblemPrefix + code}}}
	return object{"description": strings.ReplaceAll(code, "_", " "), "content": object{front.ProblemMedia: object{
		"schema": object{"allOf": []object{d.schema(typ[operator.Problem]()), specific}}}}}
}

func (d describer) parameters(r route) []object {
	var params []object
	for segment := range strings.SplitSeq(r.path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			params = append(params, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true,
				"schema": object{"type": "string"}})
		}
	}
	for _, p := range r.query {
		schema := object{"type": "integer", "minimum": p.min, "maximum": p.max}
		if p.boolean {
			schema = object{"type": "boolean"}
		}
		params = append(params, object{"name": p.name, "in": "query", "description": p.about, "schema": schema})
	}
	return params
}

func (d describer) bodySchema(b body) object {
	if b.typ == nil {
		return object{"type": "object", "description": "A tenant file."}
	}
	s := d.schema(b.typ)
	d.seal(b.typ)
	return s
}

// seal says of the schema of a body, and of the objects within it, that it takes nothing else.
func (d describer) seal(t reflect.Type) {
	d.schemas[t.Name()].(object)["additionalProperties"] = false
	for _, f := range fields(t) {
		if f.typ.Kind() == reflect.Pointer {
			d.seal(f.typ.Elem())
		}
	}
}

const schemaPath = "#/components/schemas/"

// schema describes a wire type. Named structs are put among the schemas and referred to.
func (d describer) schema(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	case t == typ[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == typ[netip.Addr]():
		return object{"type": "string"}
	case t == typ[json.RawMessage](), t.Kind() == reflect.Map:
		return object{"type": "object"}
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return object{"type": "integer"}
	case t.Kind() == reflect.String:
		if values := words(t); values != nil {
			return object{"type": "string", "enum": values}
		}
		return object{"type": "string"}
	}
	if strings.Contains(t.Name(), "[") { // a list
		return d.members(t)
	}
	if d.schemas[t.Name()] == nil {
		d.schemas[t.Name()] = d.members(t)
	}
	return object{"$ref": schemaPath + t.Name()}
}

func (d describer) members(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range fields(t) {
		properties[f.name] = d.schema(f.typ)
		if f.required {
			required = append(required, f.name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}
}

// words lists the values of an enumeration; nil for a type that is none.
func words(t reflect.Type) []string {
	switch t {
	case typ[operator.Role]():
		return strs(operator.Roles())
	case typ[operator.Kind]():
		return strs(operator.Kinds())
	case typ[operator.Action]():
		return strs([]operator.Action{operator.ActionCreate, operator.ActionUpdate, operator.ActionDelete})
	case typ[operator.KeyState]():
		return admin.States()
	case typ[operator.LogUse]():
		return admin.LogUses()
	case typ[operator.SecretState]():
		return strs(operator.SecretStates())
	case typ[operator.ShimState]():
		return admin.ShimStates()
	case typ[operator.CutoffKind]():
		return admin.CutoffKinds()
	case typ[operator.Cause]():
		return admin.Causes()
	case typ[operator.Outcome]():
		return strs(operator.Outcomes())
	}
	return nil
}

func strs[T ~string](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}
