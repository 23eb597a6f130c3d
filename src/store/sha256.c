/* SHA-256 of weights, by OpenSSL's libcrypto: the identity their publishers name. */
#include <openssl/evp.h>
#include <stdio.h>

#include "base/error.h"
#include "store/tensors.h"

void sha256_hex(char out[65], const void *bytes, size_t size)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    require(EVP_Digest(bytes, size, digest, &length, EVP_sha256(), NULL) == 1 && length == 32, EXIT_INTERNAL,
            "SHA-256: libcrypto does not offer it");
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
