package redis

// Hosts returns the host:port pairs that a URL names.
func Hosts(url string) ([]string, error) {
	options, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	return options.Addrs, nil
}
