package iidtest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// A service in which one token is dead and the first call fails.
func Example() {
	dead := iidtest.Token(1, 1)
	fail, err := iidtest.ParseFault("503=first:1")
	if err != nil {
		panic(err)
	}
	service, err := iidtest.Start(iidtest.Config{
		AnyBearer: true,
		Faults:    []iidtest.Plan{fail},
		Fates: func(token string) iidtest.Fate {
			if token == dead {
				return iidtest.Dead
			}
			return iidtest.Live
		},
	})
	if err != nil {
		panic(err)
	}
	defer service.Close()

	body := `{"to":"/topics/news","registration_tokens":["` + iidtest.Token(1, 0) + `","` + dead + `"]}`
	fmt.Print(post(service.URL+"/iid/v1:batchAdd", body))
	fmt.Print(post(service.URL+"/iid/v1:batchAdd", body))
	fmt.Println("subscribed:", service.Count("news"), "faults:", service.FaultCounts())
	// Output:
	// {"error":"UNAVAILABLE"}
	// {"results":[{},{"error":"NOT_FOUND"}]}
	// subscribed: 1 faults: map[503:1]
}

// A service that knows one app: an import for its sandbox fails.
func ExampleImport() {
	service, err := iidtest.Start(iidtest.Config{
		AnyBearer: true,
		Import:    iidtest.Import{Apps: []iidtest.App{{BundleID: "com.example.app"}}},
	})
	if err != nil {
		panic(err)
	}
	defer service.Close()

	const body = `{"application":"com.example.app","sandbox":%t,"apns_tokens":["AB12"]}`
	fmt.Print(post(service.URL+"/iid/v1:batchImport", fmt.Sprintf(body, true)))
	post(service.URL+"/iid/v1:batchImport", fmt.Sprintf(body, false))
	for _, imported := range service.Imports() {
		fmt.Println(imported.APNsToken, imported.RegistrationToken == iidtest.Minted("com.example.app", false, "ab12"))
	}
	// Output:
	// {"results":[{"apns_token":"AB12","status":"INVALID_ARGUMENT"}]}
	// ab12 true
}

func post(url, body string) string {
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer any")
	r.Header.Set("access_token_auth", "true")
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(text)) + "\n"
}
