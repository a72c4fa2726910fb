package keys

import "github.com/bursar-sts/bursar/server/ledger"

// AAD lets tests compare the bytes that bind a sealed value to its place.
func AAD(tenant, purpose, object, version, binding string) []byte {
	return place{ledger.Tenant(tenant), purpose, object, version, binding}.aad()
}
