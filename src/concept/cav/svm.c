/* Linear C-SVM on a precomputed Gram matrix: hands the matrix to libsvm in its
 * sparse-node form and brings back signed coefficients. Negatives go first, as
 * scikit-learn sorts its classes: the solver stops at a tolerance, so the answer
 * depends on the order, and in the same order it is the same. The only caller of libsvm. */
#include "concept/svm.h"

#include <assert.h>
#include <libsvm/svm.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

static void say_nothing(const char *text)
{
    (void)text;
}

void svm_start(void)
{
    svm_set_print_string_function(say_nothing);
}

/* Parts of the working memory: nodes [n x (n + 1)], row pointers [n], labels [n], examples in their order [n]. */
struct parts {
    struct svm_node *nodes;
    struct svm_node **rows;
    double *labels;
    int *order;
};

static size_t node_count(int n)
{
    return (size_t)n * ((size_t)n + 1);
}

size_t svm_work_bytes(int n)
{
    return node_count(n) * sizeof(struct svm_node) +
           (size_t)n * (sizeof(struct svm_node *) + sizeof(double) + sizeof(int));
}

static struct parts cut(void *work, int n)
{
    struct parts parts;
    parts.nodes = work;
    parts.rows = (struct svm_node **)(void *)(parts.nodes + node_count(n));
    parts.labels = (double *)(void *)(parts.rows + n);
    parts.order = (int *)(void *)(parts.labels + n);
    return parts;
}

/* order <- the picked examples' numbers, negatives first. */
static void sort_classes(int *order, const int *pick, const bool *positive, int n)
{
    int at = 0;
    for (int class = 0; class < 2; class ++)
        for (int i = 0; i < n; i++)
            if (positive[pick ? pick[i] : i] == (class == 1))
                order[at++] = i;
}

/* A precomputed row is (0: its number from 1), (1: <x_i, x_1>), (2: <x_i, x_2>), ... */
static void fill(const struct parts *parts, const double *gram, int ld, const int *pick, const bool *positive, int n)
{
    sort_classes(parts->order, pick, positive, n);
    for (int i = 0; i < n; i++) {
        int row = pick ? pick[parts->order[i]] : parts->order[i];
        struct svm_node *node = parts->nodes + (size_t)i * ((size_t)n + 1);
        parts->rows[i] = node;
        parts->labels[i] = positive[row] ? 1 : 0; /* libsvm would put a label of +1 before one of -1 */
        node[0] = (struct svm_node){ .index = 0, .value = i + 1 };
        for (int j = 0; j < n; j++) {
            int column = pick ? pick[parts->order[j]] : parts->order[j];
            node[j + 1] = (struct svm_node){ j + 1, gram[(size_t)row * (size_t)ld + (size_t)column] };
        }
    }
}

double svm_fit(double *coef, const double *gram, int ld, const int *pick, const bool *positive, int n, double c,
               double tolerance, void *work)
{
    struct parts parts = cut(work, n);
    fill(&parts, gram, ld, pick, positive, n);
    struct svm_problem problem = { .l = n, .y = parts.labels, .x = parts.rows };
    struct svm_parameter parameter = {
        .svm_type = C_SVC, .kernel_type = PRECOMPUTED, .cache_size = 100, .eps = tolerance, .C = c, .shrinking = 1
    };
    const char *wrong = svm_check_parameter(&problem, &parameter);
    require(!wrong, EXIT_INTERNAL, "libsvm refuses the problem: %s", wrong);
    struct svm_model *model = svm_train(&problem, &parameter);
    require(model && model->nr_class == 2, EXIT_INTERNAL, "libsvm: a fit needs examples of both classes");

    /* The first class, the negatives, is libsvm's positive one. */
    memset(coef, 0, (size_t)n * sizeof *coef);
    for (int s = 0; s < model->l; s++)
        coef[parts.order[model->sv_indices[s] - 1]] = -model->sv_coef[0][s];
    double bias = model->rho[0];
    svm_free_and_destroy_model(&model);
    return bias;
}
