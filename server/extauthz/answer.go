package extauthz

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/bursar-sts/bursar/server/decide"
)

// respond writes an answer as Envoy reads it.
func respond(a decide.Answer) *auth.CheckResponse {
	if a.Status == http.StatusOK {
		return &auth.CheckResponse{Status: &rpc.Status{Code: int32(codes.OK)}, DynamicMetadata: metadata(a),
			HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
				Headers: headers(a.Keys), HeadersToRemove: decide.Withheld(a.Keys)}}}
	}
	code, status := codes.PermissionDenied, envoy.StatusCode_Forbidden
	if a.Status == http.StatusUnauthorized {
		code, status = codes.Unauthenticated, envoy.StatusCode_Unauthorized
	}
	return &auth.CheckResponse{Status: &rpc.Status{Code: int32(code)},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status: &envoy.HttpStatus{Code: status}, Headers: headers(a.Header), Body: string(a.Body)}}}
}

// metadata is what an access log of Envoy's can name a call by.
func metadata(a decide.Answer) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"bursar_decision": structpb.NewStringValue(a.ID), "bursar_txn": structpb.NewStringValue(a.Txn),
	}}
}

// headers replace what was there under their names, in alphabetical order.
func headers(h http.Header) (options []*core.HeaderValueOption) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		action := core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		for _, value := range h[name] {
			options = append(options, &core.HeaderValueOption{AppendAction: action,
				Header: &core.HeaderValue{Key: strings.ToLower(name), Value: value}})
			action = core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		}
	}
	return options
}
