// Drives SWR's management API with Huawei's Go SDK: organisations, images, rights, sharing, quotas and logins,
// and what is refused. Prints one line a step; ends with 1 at the first that is not as it must be.
package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	swr "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/swr/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/swr/v2/model"
)

func client(endpoint, ak, sk string) *swr.SwrClient {
	credentials, err := basic.NewCredentialsBuilder().WithAk(ak).WithSk(sk).WithProjectId("0").SafeBuild()
	must("credentials", err)
	// The CA is the system's, by SSL_CERT_FILE.
	built, err := swr.SwrClientBuilder().
		WithEndpoints([]string{endpoint}).
		WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig()).
		SafeBuild()
	must("client", err)
	return swr.NewSwrClient(built)
}

func must(step string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", step, err)
		os.Exit(1)
	}
}

func same(step string, got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		fmt.Printf("%s: got %#v, not %#v\n", step, got, wanted)
		os.Exit(1)
	}
	fmt.Println("ok", step)
}

// refused holds an error of the SDK to a status and a code.
func refused(step string, err error, status int, code string) {
	var failure *sdkerr.ServiceResponseError
	if !errors.As(err, &failure) {
		fmt.Printf("%s: not refused as the SDK knows it: %v\n", step, err)
		os.Exit(1)
	}
	same(step, []any{failure.StatusCode, failure.ErrorCode}, []any{status, code})
	if failure.RequestId == "" || failure.ErrorMessage == "" {
		fmt.Printf("%s: no request id or message: %v\n", step, failure)
		os.Exit(1)
	}
}

func text(value string) *string { return &value }

func main() {
	endpoint, ak, sk, other := os.Args[1], os.Getenv("DRIVE_AK"), os.Getenv("DRIVE_SK"), os.Getenv("DRIVE_OTHER")
	c := client(endpoint, ak, sk)

	versions, err := c.ListApiVersions(&model.ListApiVersionsRequest{})
	must("versions", err)
	same("the version", (*versions.Versions)[0].Id, "v2")

	_, err = c.CreateNamespace(&model.CreateNamespaceRequest{Body: &model.CreateNamespaceRequestBody{Namespace: "driven"}})
	must("create an organisation", err)
	_, err = c.CreateNamespace(&model.CreateNamespaceRequest{Body: &model.CreateNamespaceRequestBody{Namespace: "driven"}})
	refused("an organisation twice", err, 409, "SVCSTG.SWR.4090060")
	_, err = c.ShowNamespace(&model.ShowNamespaceRequest{Namespace: "absent"})
	refused("an organisation that is not there", err, 404, "SVCSTG.SWR.4040058")
	shown, err := c.ShowNamespace(&model.ShowNamespaceRequest{Namespace: "driven"})
	must("show an organisation", err)
	same("its name and rights", []any{*shown.Name, shown.Auth.Value()}, []any{"driven", int32(7)})
	listed, err := c.ListNamespaces(&model.ListNamespacesRequest{Filter: text("namespace::driven")})
	must("list organisations", err)
	same("one is listed", len(*listed.Namespaces), 1)

	category := model.GetCreateRepoRequestBodyCategoryEnum().LINUX
	_, err = c.CreateRepo(&model.CreateRepoRequest{Namespace: "driven", Body: &model.CreateRepoRequestBody{
		Repository: "a/b", IsPublic: false, Category: &category, Description: text("by Go"),
	}})
	must("create an image", err)
	image, err := c.ShowRepository(&model.ShowRepositoryRequest{Namespace: "driven", Repository: "a$b"})
	must("show an image", err)
	same("its name and text", []any{*image.Name, *image.Description, *image.IsPublic}, []any{"a/b", "by Go", false})
	images, err := c.ListReposDetails(&model.ListReposDetailsRequest{Filter: text("namespace::driven|limit::10|offset::0")})
	must("list images", err)
	same("one image", []any{len(*images.Body), *images.ContentRange}, []any{1, "0-1/1"})
	beyond, err := c.ListReposDetails(&model.ListReposDetailsRequest{Namespace: text("driven"), Limit: text("10"), Offset: text("10")})
	must("list beyond the end", err)
	same("nothing there", len(*beyond.Body), 0)
	tags, err := c.ListRepositoryTags(&model.ListRepositoryTagsRequest{Namespace: "driven", Repository: "a$b", Limit: text("10"), Offset: text("0")})
	must("list tags", err)
	same("no tags", len(*tags.Body), 0)

	_, err = c.CreateRepoDomains(&model.CreateRepoDomainsRequest{Namespace: "driven", Repository: "a$b", Body: &model.CreateRepoDomainsRequestBody{
		AccessDomain: other, Permit: "read", Deadline: "forever", Description: text("to look at"),
	}})
	must("share", err)
	shares, err := c.ListRepoDomains(&model.ListRepoDomainsRequest{Namespace: "driven", Repository: "a$b"})
	must("list shares", err)
	same("one share", []any{len(*shares.Body), (*shares.Body)[0].AccessDomain}, []any{1, other})
	_, err = c.DeleteRepoDomains(&model.DeleteRepoDomainsRequest{Namespace: "driven", Repository: "a$b", AccessDomain: other})
	must("end a share", err)

	quotas, err := c.ListQuotas(&model.ListQuotasRequest{})
	must("quotas", err)
	same("of organisations", (*quotas.Quotas)[0].QuotaKey, "namespace")
	login, err := c.CreateSecret(&model.CreateSecretRequest{Projectname: text("region-1")})
	must("login", err)
	same("a login command", len(*login.XSwrDockerlogin) > 20 && len(*login.XSwrExpireat) > 10, true)

	_, err = c.DeleteNamespaces(&model.DeleteNamespacesRequest{Namespace: "driven"})
	refused("an organisation with images", err, 406, "SVCSTG.SWR.4060074")
	_, err = c.DeleteRepo(&model.DeleteRepoRequest{Namespace: "driven", Repository: "a$b"})
	must("delete an image", err)
	_, err = c.DeleteNamespaces(&model.DeleteNamespacesRequest{Namespace: "driven"})
	must("delete an organisation", err)

	_, err = client(endpoint, ak, "wrong"+sk).ListNamespaces(&model.ListNamespacesRequest{})
	refused("a wrong key", err, 401, "APIGW.0301")
}
