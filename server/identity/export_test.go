package identity

// ReadMetadata returns the jwks_uri of an issuer's metadata.
func ReadMetadata(data []byte, issuer string) (string, error) { return readMetadata(data, issuer) }
