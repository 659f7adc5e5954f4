"""What CuPy has: the functions and keywords that the stand-in device lets through (13 and 14 have them all).

A list of data, nothing else. Where CuPy is installed, a test compares every name and keyword with the real ones.
"""

UFUNCS = """
    add subtract multiply divide true_divide floor_divide remainder mod power negative positive absolute abs fabs sign
    maximum minimum fmax fmin exp exp2 expm1 log log2 log10 log1p logaddexp sqrt cbrt square reciprocal sin cos tan
    arcsin arccos arctan arctan2 sinh cosh tanh hypot copysign signbit heaviside floor ceil trunc rint isfinite isinf
    isnan equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor
    bitwise_and bitwise_or bitwise_xor invert left_shift right_shift
"""  # each with the keywords out, dtype, casting; numbers may stand for arrays

SCATTERING = "add maximum minimum"  # ufuncs with a method "at"

EACH = -1  # the first argument is a list of arrays
FUNCTIONS = (  # how many arguments, from the first, must be arrays; the keywords; the functions
    (1, "axis dtype out keepdims", "sum prod mean"),
    (1, "axis dtype out ddof keepdims", "var std"),
    (1, "axis out keepdims", "max min amax amin any all"),
    (1, "axis keepdims", "argmax argmin"),
    (1, "axis dtype out", "cumsum cumprod"),
    (1, "axis", "count_nonzero sort argsort flip roll repeat expand_dims squeeze"),
    (1, "", "transpose swapaxes moveaxis broadcast_to tile rot90 split array_split nonzero flatnonzero where bincount"),
    (1, "order", "reshape ravel copy"),
    (1, "a_min a_max out", "clip"),
    (1, "axis out", "take"),
    (1, "mode constant_values", "pad"),
    (1, "decimals out", "round"),
    (1, "dtype shape", "empty_like zeros_like ones_like full_like"),
    (1, "return_index return_inverse return_counts", "unique"),
    (1, "k", "diag tril triu"),
    (1, "casting where", "copyto"),
    (1, "nan posinf neginf", "nan_to_num"),
    (1, "ord axis keepdims", "linalg.norm"),
    (1, "shape strides", "lib.stride_tricks.as_strided"),
    (1, "window_shape axis", "lib.stride_tricks.sliding_window_view"),
    (2, "axis", "take_along_axis"),
    (2, "out", "dot matmul outer"),
    (2, "axes", "tensordot"),
    (2, "", "inner vdot"),
    (2, "rtol atol equal_nan", "isclose allclose"),
    (2, "equal_nan", "array_equal"),
    (EACH, "axis out dtype casting", "concatenate stack"),
    (EACH, "dtype casting", "vstack hstack"),
    (0, "dtype optimize", "einsum"),
    (0, "dtype order", "empty zeros ones full eye"),
    (0, "dtype", "arange identity"),
    (0, "endpoint dtype axis", "linspace"),
)

METHODS = (  # the keywords; the methods of an array
    ("axis dtype out keepdims", "sum prod mean"),
    ("axis dtype out ddof keepdims", "var std"),
    ("axis out keepdims", "max min any all"),
    ("axis keepdims", "argmax argmin"),
    ("axis dtype out", "cumsum"),
    ("axis", "squeeze repeat"),
    ("axis out", "take"),
    ("order", "reshape ravel flatten copy"),
    ("dtype order copy", "astype"),
    ("min max out", "clip"),
    ("decimals out", "round"),
    ("out", "dot"),
    ("dtype", "view"),
    ("", "transpose swapaxes diagonal nonzero"),
)

CONSTANTS = """
    promote_types can_cast issubdtype isscalar finfo iinfo dtype floating integer bool_ float16 float32 float64
    int8 int16 int32 int64 uint8 uint16 uint32 uint64 intp newaxis pi e inf nan
"""  # taken from NumPy as they are

INQUIRIES = "result_type may_share_memory"  # questions about arrays that the host answers without waiting

SYNCHRONISING = "nonzero flatnonzero unique bincount"  # the shape of the result depends on the values
